"""The proof that no sum of a network leaves 32 bits, whatever it is shown.

Every weighted sum lies within bounds that follow from its weights and its operand's range. The number of weights and
their largest code bound it without a look at them; only where that is not enough, the codes are unpacked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Fire, Integers, Readout
from bitspike.integer.limits import MOST_COUNT
from bitspike.integer.weight import Weight

INT32 = 2**31 - 1
_AT_ONCE = 1 << 22

Bounds: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Range:
    """Smallest (<= 0) and largest (>= 0) value per channel, int64 [C]; each channel counts for `positions` features."""

    low: Bounds
    high: Bounds
    positions: int = 1


Shifted: TypeAlias = tuple[Weight, Range, Integers]
"""A weighted sum: its weights, its operand's range, the shift of each of its channels."""


def summed(values: Range, count: int) -> Range:
    """The range of a sum of so many of these values."""
    largest = max(int(values.high.max()), -int(values.low.min())) * count
    if largest > MOST_COUNT:
        raise ValueError(f"sums over its windows can reach {largest}, which does not fit 32 bits")
    return Range(values.low * count, values.high * count, values.positions)


def check_sums(main: Shifted, side: Shifted | None, fire: Fire) -> None:
    """Refuse a spiking layer in which A, A', I or I + rounding could leave 32 bits on the way."""
    sums = [main] if side is None else [main, side]
    tables = [table for table in (fire.rounding, fire.rounding_fired) if table is not None]
    rounding = np.max([np.abs(table.astype(np.int64)).max(1) for table in tables], axis=0)
    fixed = (fire.levels * fire.leak) << (fire.g - fire.leak_exponent)
    fixed += (1 << fire.g) - 1 if fire.stochastic else 0
    quick = sum(_quick(weight, values) << int(shift.max()) for weight, values, shift in sums)
    if quick + fixed + int(rounding.max()) <= INT32:
        return
    total = rounding + fixed
    for weight, values, shift in sums:
        total = total + _shifted(_exact(weight, values), shift)
    _refuse(int(total.max()))


def check_readout(node: Readout, values: Range) -> None:
    """Refuse a readout whose sums over all its steps could leave 32 bits."""
    bias = np.abs(node.bias.astype(np.int64))
    if _quick(node.weight, values) * node.time_steps + int(bias.max()) > INT32:
        magnitude = _exact(node.weight, values)
        _refuse(int(magnitude.max()))  # so that int64 holds what follows
        _refuse(int((magnitude * node.time_steps + bias).max()))


def _refuse(largest: int) -> None:
    if largest > INT32:
        raise ValueError(f"its sums can reach {largest}, which does not fit 32 bits")


def _shifted(magnitude: Bounds, shift: Integers) -> Bounds:
    _refuse(int(magnitude.max()))  # so that int64 holds what follows
    result: Bounds = magnitude << shift.astype(np.int64)
    _refuse(int(result.max()))
    return result


def _quick(weight: Weight, values: Range) -> int:
    """A bound of |A| from the number of weights and their largest possible code."""
    largest = 1 << (weight.bits - 1) if weight.grid == "signed" else (1 << weight.bits) - 1
    per_channel = np.maximum(values.high, -values.low)
    kernel = int(np.prod(weight.shape[2:], dtype=np.int64)) * values.positions
    return largest * kernel * int(per_channel.sum())


def _exact(weight: Weight, values: Range) -> Bounds:
    """The largest |A| of each channel that any operand within its range could give."""
    bound = _quick(weight, values)
    if bound >= 1 << 62:  # nothing that int64 could prove
        _refuse(bound)
    features = (len(weight), len(values.low), -1)
    smallest, largest = np.zeros((2, len(weight)), np.int64)
    codes = weight.codes.reshape(features)
    step = max(1, _AT_ONCE // codes[0].size)
    for first in range(0, len(weight), step):
        part = codes[first : first + step]
        positive = np.maximum(part, 0).sum(2, dtype=np.int64)
        negative = np.minimum(part, 0).sum(2, dtype=np.int64)
        largest[first : first + step] = positive @ values.high + negative @ values.low
        smallest[first : first + step] = positive @ values.low + negative @ values.high
    result: Bounds = np.maximum(largest, -smallest)
    return result
