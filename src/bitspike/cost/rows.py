"""One layer as plain numbers: everything that memory, operations and energy are computed from.

Left out of a row, and so of every figure built on it: the input image or event frame, the spikes in flight
between layers, pooling (it holds no state and needs no weights), program code and file headers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

FLOAT_BITS = 32


@dataclass(frozen=True)
class LayerCost:
    """One layer of a traced network; counts are of one image and, where time matters, of one time step.

    name           where the layer sits in the network, "stage1.0.first"
    kind           "conv" | "linear" | "readout" | "skip" (a convolved skip, a row of its own without neurons)
    end            first or last layer: the papers give these other bits
    weights        number of weights; weight_bits each (32: float)
    biases         number of bias parameters in the training form
    norms          batch-norm channels in the training form, two parameters each
    neurons        neurons with a membrane of membrane_bits (32: float); 0 for readout and skip
    macs           dense multiply-accumulates: weights times the positions they are applied at
    static_input   the input is the analog image, the same in every step, so the layer is convolved once
    input_rate     measured spikes per input position and step (a pooled count of 3 is three spikes), or None
    output_rate    measured spikes per neuron and step, or None
    integer_bytes  bytes of the per-channel integers (thresholds, rounding constants, shifts, integer biases)
                   that the shipped network holds; 0 for a float layer, which holds biases and norms instead
    levels         codes that the weights' grid has; 0 for a float layer
    levels_used    different codes that occur among the weights
    utilization_estimate  QP-SNN's estimate of levels_used / levels, from the latent weights, or None without those
    """

    name: str
    kind: str
    end: bool
    weights: int
    weight_bits: int
    biases: int
    norms: int
    neurons: int
    membrane_bits: int
    macs: int
    static_input: bool = False
    input_rate: float | None = None
    output_rate: float | None = None
    integer_bytes: int = 0
    levels: int = 0
    levels_used: int = 0
    utilization_estimate: float | None = None

    def __post_init__(self) -> None:
        for field in ("weights", "biases", "norms", "neurons", "macs", "integer_bytes"):
            if getattr(self, field) < 0:
                raise ValueError(f"layer {self.name!r}: {field} is {getattr(self, field)}; a count is 0 or more.")
        for field in ("weight_bits", "membrane_bits"):
            if not 1 <= getattr(self, field) <= FLOAT_BITS:
                raise ValueError(
                    f"layer {self.name!r}: {field} is {getattr(self, field)}; allowed are 1 to {FLOAT_BITS} "
                    f"({FLOAT_BITS} means float)."
                )
        if not 0 <= self.levels_used <= self.levels:
            raise ValueError(
                f"layer {self.name!r}: levels_used is {self.levels_used} of {self.levels} levels; "
                "allowed are 0 to that number."
            )
        for field in ("input_rate", "output_rate"):
            rate = getattr(self, field)
            if rate is not None and not (math.isfinite(rate) and rate >= 0):
                raise ValueError(
                    f"layer {self.name!r}: {field} is {rate}; give a finite number of spikes per position "
                    "and step, 0 or more, or None where none was measured."
                )

    @property
    def parameters(self) -> int:
        """Trained parameters: weights, biases and two per batch-norm channel."""
        return self.weights + self.biases + 2 * self.norms

    @property
    def utilization(self) -> float | None:
        """Bit-width utilization: levels in use / levels that there are; None for a float layer."""
        return self.levels_used / self.levels if self.levels else None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain data, for JSON."""
        return asdict(self) | {"utilization": self.utilization}
