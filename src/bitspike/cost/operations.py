"""Operations for one image, from the firing rates that were really measured.

    synaptic operations   macs * input rate * time steps: one addition for every spike at every synapse
    multiplications       macs, once, of a layer that sees the static analog image
    per neuron and step   2 additions (membrane + input, + rounding constant), 3 shifts (leak, input, store),
                          3 compares (threshold, and the two ends of the clamp)

The dense count beside them is what a machine does that skips no zeros. Left out: the synapses that a spike
at the border loses to zero padding (so the count is slightly high), pooling, the addition and shift that a
convolved skip brings to each neuron it joins, the multiplication of a leak other than a power of two, random
numbers, addressing, and all traffic to memory. A float layer divides and multiplies more than is listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bitspike.cost.rows import LayerCost

ADDS_PER_NEURON = 2
SHIFTS_PER_NEURON = 3
COMPARES_PER_NEURON = 3


@dataclass(frozen=True)
class LayerOperations:
    """Operations of one layer for one image, all time steps; synaptic is None where no rate was measured."""

    name: str
    synaptic: float | None
    multiplications: int
    adds: int
    shifts: int
    compares: int
    dense: int


@dataclass(frozen=True)
class Operations:
    """Operations of a network for one image, all time steps, and of each layer."""

    layers: tuple[LayerOperations, ...]
    time_steps: int

    @property
    def synaptic(self) -> float | None:
        """Synaptic operations of all layers; None if a layer has no measured rate."""
        counts = [layer.synaptic for layer in self.layers]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    @property
    def multiplications(self) -> int:
        """Multiply-accumulates on the analog image."""
        return sum(layer.multiplications for layer in self.layers)

    @property
    def adds(self) -> int:
        """Additions in the neurons."""
        return sum(layer.adds for layer in self.layers)

    @property
    def shifts(self) -> int:
        """Shifts in the neurons."""
        return sum(layer.shifts for layer in self.layers)

    @property
    def compares(self) -> int:
        """Compares in the neurons."""
        return sum(layer.compares for layer in self.layers)

    @property
    def dense(self) -> int:
        """Multiply-accumulates of a machine that skips no zeros."""
        return sum(layer.dense for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Totals as plain data; layers under "layers"."""
        names = ("synaptic", "multiplications", "adds", "shifts", "compares", "dense", "time_steps")
        totals: dict[str, Any] = {name: getattr(self, name) for name in names}
        return totals | {"layers": [asdict(layer) for layer in self.layers]}


def _layer_operations(row: LayerCost, time_steps: int) -> LayerOperations:
    updates = row.neurons * time_steps
    if row.static_input:
        synaptic: float | None = 0.0
    elif row.input_rate is None:
        synaptic = None
    else:
        synaptic = row.macs * row.input_rate * time_steps
    return LayerOperations(
        name=row.name,
        synaptic=synaptic,
        multiplications=row.macs if row.static_input else 0,
        adds=ADDS_PER_NEURON * updates,
        shifts=SHIFTS_PER_NEURON * updates,
        compares=COMPARES_PER_NEURON * updates,
        dense=row.macs * (1 if row.static_input else time_steps),
    )


def operations(rows: Iterable[LayerCost], time_steps: int) -> Operations:
    """Operations of the whole network for one image shown for `time_steps` steps."""
    if time_steps < 1:
        raise ValueError(f"time_steps is {time_steps}; give 1 or more.")
    return Operations(tuple(_layer_operations(row, time_steps) for row in rows), time_steps)
