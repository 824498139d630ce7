"""Energy of one image by the rule the papers use, with its assumptions carried in the result.

    E = T * SOPs * 0.9 pJ + MACs(layer on the analog image) * 4.6 pJ          SOPs: of one time step

0.9 and 4.6 pJ are a 32-bit float addition and multiply-accumulate in a 45 nm process. So the figure ranks
networks by their spikes and by nothing else: it is the same for 1-bit and 32-bit weights. Left out: memory
traffic (usually the larger part), the width of the operands, membrane updates, batch norm, pooling, leakage
and clock. It is no measurement and promises no battery life.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bitspike.cost.operations import operations
from bitspike.cost.rows import LayerCost

ACCUMULATE_JOULES = 0.9e-12
MULTIPLY_ACCUMULATE_JOULES = 4.6e-12

LEFT_OUT = (
    "left out: memory traffic, operand width, membrane updates, batch norm, pooling, leakage, clock",
    "synaptic operations = dense operations * measured input rate; zero padding is not subtracted",
)


@dataclass(frozen=True)
class Energy:
    """Joules for one image, in their two parts, and the assumptions they rest on."""

    synaptic_joules: float
    multiply_joules: float
    assumptions: tuple[str, ...]

    @property
    def joules(self) -> float:
        """Both parts together."""
        return self.synaptic_joules + self.multiply_joules

    def to_dict(self) -> dict[str, Any]:
        """Plain data, the sum included."""
        return asdict(self) | {"joules": self.joules, "assumptions": list(self.assumptions)}


def qpsnn_energy(
    synaptic_operations: float,
    first_macs: float,
    time_steps: int,
    *,
    every_step: bool = True,
    accumulate_joules: float = ACCUMULATE_JOULES,
    multiply_joules: float = MULTIPLY_ACCUMULATE_JOULES,
) -> Energy:
    """Energy from the synaptic operations of ONE step and the multiply-accumulates of the first layer.

    `every_step=False` leaves the factor T out. One printed row of QP-SNN (its pruned ResNet20) only comes
    out that way, which makes the saving look about twice as large; it is here to recognize such rows.
    """
    if time_steps < 1:
        raise ValueError(f"time_steps is {time_steps}; give 1 or more.")
    if synaptic_operations < 0 or first_macs < 0:
        raise ValueError(
            f"synaptic_operations is {synaptic_operations} and first_macs is {first_macs}; give 0 or more."
        )
    steps = time_steps if every_step else 1
    return Energy(
        synaptic_joules=steps * synaptic_operations * accumulate_joules,
        multiply_joules=first_macs * multiply_joules,
        assumptions=(
            f"{accumulate_joules * 1e12:g} pJ per addition, {multiply_joules * 1e12:g} pJ per "
            "multiply-accumulate (the defaults: 32-bit float, 45 nm)",
            f"synaptic operations of one step times {steps}"
            + ("" if every_step else f" instead of the {time_steps} steps that are run"),
            "the layer on the analog image is computed once",
            *LEFT_OUT,
        ),
    )


def energy(
    rows: Iterable[LayerCost],
    time_steps: int,
    *,
    accumulate_joules: float = ACCUMULATE_JOULES,
    multiply_joules: float = MULTIPLY_ACCUMULATE_JOULES,
) -> Energy:
    """Energy of a network by the same rule, from the rates in its rows.

    Refuses rows without a measured input rate: an energy from assumed rates would not say so.
    """
    rows = list(rows)
    unmeasured = [row.name for row in rows if not row.static_input and row.input_rate is None]
    if unmeasured:
        raise ValueError(
            f"no input rate was measured for {', '.join(unmeasured)}; run the network on some samples to "
            "measure firing rates, then ask for the energy."
        )
    counted = operations(rows, time_steps)
    return qpsnn_energy(
        (counted.synaptic or 0.0) / time_steps,
        counted.multiplications,
        time_steps,
        accumulate_joules=accumulate_joules,
        multiply_joules=multiply_joules,
    )
