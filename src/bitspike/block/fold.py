"""From a trained channel to its integers: gain, offset and exponent become threshold, rounding and shifts.

For channel c: a its gain (the real value of one unit of the weighted sum), d its offset, v the threshold,
L the exponent of the membrane's step a * 2^L (`quant.membrane.membrane_exponent`).
With g = max(e, max L, max(L - s)) and f = g - L,

    theta[c, j] = ceil((v - d - j) / a * 2^f)        r[c, j] = floor((d + j) / a * 2^f + o)

A soft reset's r1 is r of d + j less what the reset subtracts; a strict comparison's theta is floor(...) + 1.
Only d is not an integer, and it enters two monotone operations, so both foldings are exact. Quotients are held on
a grid of 2^-20 units: float64 then carries every sum of the real form without error, and the integers do not
depend on how a platform rounds its divisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bitspike.integer.graph import Fire
from bitspike.spec import FLOAT_BITS, MembraneSpec

INT32 = 2**31 - 1
_GRID = 2.0**20
_FAR = 2.0**32
_FARTHEST_SHIFT = 30
GAIN_FLOOR = 1e-3
"""Smallest |gamma| that counts: a channel's gain never reaches zero."""


def on_grid(quotient: Tensor) -> Tensor:
    """The nearest multiple of 2^-20, within reach of what int32 can tell apart."""
    return torch.floor(quotient * _GRID + 0.5).div(_GRID).clamp(-_FAR, _FAR)


def threshold_quotient(gain: Tensor, offset: Tensor, count: Tensor | float, spec: MembraneSpec) -> Tensor:
    """(v - d - j) / a: a neuron fires when its sum, in units of A, reaches it; where it is strict, exceeds it."""
    return on_grid((spec.threshold - offset - count) / gain)


def offset_quotient(gain: Tensor, offset: Tensor, count: Tensor | float) -> Tensor:
    """(d + j) / a: what rounding adds to the sum, in units of A."""
    return on_grid((offset + count) / gain)


@dataclass(frozen=True)
class Reach:
    """Bounds of a weighted sum per channel, proved from its weights and its operand's bounds: int64 [C]."""

    low: Tensor
    high: Tensor

    @property
    def magnitude(self) -> Tensor:
        """max |A| per channel."""
        return torch.maximum(self.low.abs(), self.high.abs())


def reach(weight: Tensor, low: Tensor, high: Tensor) -> Reach:
    """Bounds of sum(W * x) per output channel; weight int [C_out, C_in, ...], low <= 0 <= high of x [C_in]."""
    weight = weight.to(torch.int64)
    positive, negative = weight.clamp_min(0), weight.clamp_max(0)
    shape = (1, -1, *(1,) * (weight.dim() - 2))
    low, high = low.to(torch.int64).reshape(shape), high.to(torch.int64).reshape(shape)
    smallest = (positive * low + negative * high).flatten(1).sum(1)
    largest = (positive * high + negative * low).flatten(1).sum(1)
    return Reach(smallest, largest)


@dataclass(frozen=True)
class Channels:
    """What a block knows of its channels when it lowers itself; all [C], float64 and int64."""

    gain: Tensor  # a > 0
    offset: Tensor  # d
    exponent: Tensor  # L
    ratio: Tensor | None  # s of a skip with its own norm, else None

    def cpu(self) -> Channels:
        """The same on the CPU."""
        ratio = None if self.ratio is None else self.ratio.cpu()
        return Channels(self.gain.cpu(), self.offset.cpu(), self.exponent.cpu(), ratio)


def rounding_shift(channels: Channels, spec: MembraneSpec) -> int:
    """g = max(e, max L, max(L - s)): the stored membrane's unit is 2^g, shared by the layer."""
    exponent = channels.exponent
    ratio = torch.zeros_like(exponent) if channels.ratio is None else channels.ratio.to(exponent)
    return max(spec.leak_exponent, int(exponent.max()), int((exponent - ratio).max()))


@dataclass(frozen=True)
class FixedPoint:
    """The grid of a layer's thresholds and rounding constants, in units of I: multiples of `step`, within `bits` bits.

    Q3.f of the membrane's range: on either side they reach four times as far as what is stored. theta and r come down
    to whole numbers first, exactly; then to the nearest multiple, half up, clamped.
    """

    step: float = 1.0
    bits: int = FLOAT_BITS

    INTEGER_BITS = 3

    @staticmethod
    def of(channels: Channels, spec: MembraneSpec) -> FixedPoint:
        """The grid that a description asks for; that of 32 bits changes nothing."""
        if spec.threshold_bits == FLOAT_BITS:
            return FixedPoint()
        reach = rounding_shift(channels, spec) + spec.bits - 1  # what is stored lies below 2^reach
        return FixedPoint(2.0 ** max(0, reach + FixedPoint.INTEGER_BITS - spec.threshold_bits), spec.threshold_bits)

    @property
    def is_exact(self) -> bool:
        """Whether it keeps all whole numbers."""
        return self.bits == FLOAT_BITS

    def held(self, whole: Tensor) -> Tensor:
        """Whole numbers on the grid."""
        if self.is_exact:
            return whole
        furthest = 2.0 ** (self.bits - 1)
        return torch.floor(whole / self.step + 0.5).clamp(-furthest, furthest - 1) * self.step

    def outward(self, bound: int) -> int:
        """The first multiple of the step that is not below a positive bound."""
        step = int(self.step)
        return -(-bound // step) * step


def whole_threshold(quotient: Tensor, scale: Tensor, spec: MembraneSpec) -> Tensor:
    """theta = ceil(quotient * 2^f), or the next whole number where a neuron does not fire at v itself."""
    return torch.floor(quotient * scale) + 1 if spec.strict else torch.ceil(quotient * scale)


def whole_rounding(quotient: Tensor, scale: Tensor, g: int, spec: MembraneSpec) -> Tensor:
    """r = floor(quotient * 2^f + o)."""
    half = 2.0 ** (g - 1) if spec.rounding == "nearest" else 0.0
    return torch.floor(quotient * scale + half)


def fold(
    channels: Channels,
    spec: MembraneSpec,
    sums: Reach,
    skip_sums: Reach | None,
    count_bound: int,
    stream: int,
) -> tuple[Fire, Tensor | None]:
    """The integers of a layer, and the shift f + s of its weighted skip.

    Refuses, by ValueError, a layer whose sums could leave 32 bits.
    """
    exponent = channels.exponent.to(torch.int64)
    ratio = torch.zeros_like(exponent) if channels.ratio is None else channels.ratio.to(torch.int64)
    g = rounding_shift(channels, spec)
    shift = g - exponent
    if int((shift + ratio.clamp_min(0)).max()) > _FARTHEST_SHIFT:  # int64 would not hold the proof itself
        raise ValueError(
            f"its channels' gains reach {float(channels.gain.max()):g}, which does not fit 32 bits; "
            "bring its batch norm or its weights into a usual range"
        )
    magnitude = sums.magnitude << shift
    if skip_sums is not None:
        magnitude = magnitude + (skip_sums.magnitude << (shift + ratio))
    largest = int(magnitude.max()) + ((spec.levels * spec.leak_numerator) << (g - spec.leak_exponent))
    limit = largest + ((spec.levels + 1) << g)
    if largest + limit + (1 << g) + int(FixedPoint.of(channels, spec).step) > INT32:
        raise ValueError(
            f"its sums can reach {largest} with a rounding shift of {g}, which does not fit 32 bits; "
            "use fewer weight or membrane bits, or fewer inputs"
        )
    counts = torch.arange(count_bound + 1, dtype=torch.float64)
    gain, offset = channels.gain.unsqueeze(1), channels.offset.unsqueeze(1)
    scale = torch.exp2(shift.double()).unsqueeze(1)
    fixed = FixedPoint.of(channels, spec)

    # Beyond these bounds a constant does what it does at them, so it is brought back; on the grid to its next multiple.
    def rounding(counts: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        whole = fixed.held(whole_rounding(offset_quotient(gain, offset, counts), scale, g, spec))
        return _int32(whole.clamp(-fixed.outward(limit), fixed.outward(limit)))

    threshold = fixed.held(whole_threshold(threshold_quotient(gain, offset, counts, spec), scale, spec))
    threshold = threshold.clamp(-fixed.outward(largest), fixed.outward(largest + 1))
    fire = Fire(
        threshold=_int32(threshold),
        rounding=rounding(counts),
        rounding_fired=rounding(counts - spec.subtracted) if spec.reset == "soft" else None,
        shift=shift.to(torch.uint8).numpy(),
        leak=spec.leak_numerator,
        leak_exponent=spec.leak_exponent,
        g=g,
        levels=spec.levels,
        reset=spec.reset,
        stochastic=spec.rounding == "stochastic",
        seed=spec.seed,
        stream=stream,
    )
    return fire, None if skip_sums is None else shift + ratio


def _int32(value: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    result: np.ndarray[tuple[int, ...], np.dtype[np.int32]] = value.to(torch.int64).to(torch.int32).numpy()
    return result


def dead_zone(spec: MembraneSpec) -> int:
    """The largest stored |U| that never decays on its own.

    With nearest rounding 1 / (2 (1 - tau)); with floor every negative U above -1 / (1 - tau); stochastic has none.
    """
    if spec.is_float or spec.rounding == "stochastic":
        return 0
    if spec.leak == 1:
        return spec.levels
    if spec.rounding == "floor":
        return min(spec.levels, math.ceil(1 / (1 - spec.leak)) - 1)
    return min(spec.levels, int(1 / (2 * (1 - spec.leak))))
