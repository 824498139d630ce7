"""What a device does for a spiking layer in training, between its weighted sums and its spikes.

Two modules do it: `block.cpu_kernels` by the engine's C, `block.gpu_kernels` by Triton. Tensors are float32 or bfloat16
and dense, in memory [steps][samples][height][width][channels]; of a linear layer [steps][samples][channels].

    i[t] = gain x[t] + shift (+ extra_gain e[t])       batch norm as one affine map; e: a skip's operand
    h[t] = leak u[t-1] + i[t],  s[t] = h[t] >= threshold / step,  u[t] = grid(reset(h[t], s[t]))

Potentials are in units of the membrane's step, so its grid is the whole numbers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

from bitspike.spec import MembraneSpec

PARAMETERS = ("gain", "shift", "extra_gain", "step", "mean", "extra_mean")
"""Rows of `Neurons.parameters`. Gains and shift are divided by the step; the means are subtracted in sums only."""


class Neurons(NamedTuple):
    """The neurons of a layer in one call. pool: None, "max" or "sum" of 2x2; parameters: float32 [6, C]."""

    steps: int
    samples: int
    pool: str | None
    membrane: MembraneSpec
    parameters: Tensor

    def fixed(self, sums: Tensor) -> bool:
        """Whether the sums are the same at all steps and stored once; so is the flow, the sum over steps."""
        return self.steps > 1 and sums.shape[0] == self.samples

    @property
    def levels(self) -> int:
        """n of the membrane's grid -n..n, 0 for none."""
        return 0 if self.membrane.is_float else self.membrane.levels

    @property
    def offset(self) -> float:
        """Of the grid's rounding."""
        return 0.5 if self.membrane.rounding == "nearest" else 0.0


class Kernels(Protocol):
    """The calls that do the work."""

    def moments(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, and sum of squared deviations from it, of every channel: float64 [C]."""

    def forward(self, neurons: Neurons, sums: Tensor, extra: Tensor | None, spikes: Tensor) -> Tensor:
        """Write the spikes, behind the pool if there is one; how many there are before it, one float32."""

    def backward(
        self,
        neurons: Neurons,
        sums: Tensor,
        extra: Tensor | None,
        gradient: Tensor,
        per_spike: Tensor,
        flow: Tensor,
    ) -> Tensor:
        """Write the flow, d loss / d i, from d loss / d spikes and, the same for all of them, d loss / d count.

        Gives float64 [3, C]: sums of flow, flow * (x - mean), flow * (e - extra_mean).
        """

    def affine(self, flow: Tensor, value: Tensor, coefficients: Tensor, into: Tensor) -> None:
        """into = a * flow + b * value + c by channels; coefficients float32 [3, C]. `into` may be `flow`."""

    def pack(self, value: Tensor, *, spikes: bool) -> Tensor:
        """One bit for each spike, as uint8; the value itself where it may hold other numbers than 0 and 1.

        spikes: whether it is known to hold no others; who can tell cheaply looks for itself.
        """

    def unpack(self, bits: Tensor, into: Tensor) -> None:
        """Write the numbers of packed bits."""
