"""From a spiking layer to plain integers, its 32-bit bound proved on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitspike.block.fold import Channels, Reach, fold, reach
from bitspike.block.spiking import Largest, PlainSkip, SpikingLayer, Window
from bitspike.integer import graph, ops
from bitspike.integer.weight import Weight


@dataclass(frozen=True)
class Range:
    """Smallest (<= 0) and largest (>= 0) value per channel of an operand: int64 [C]."""

    low: Tensor
    high: Tensor

    @staticmethod
    def of(value: Tensor) -> Range:
        """The range that given values [T, B, C, ...] have."""
        once = value[:1] if ops.is_static(value) else value
        low, high = (int(once.min()), int(once.max())) if once.numel() else (0, 0)
        like = torch.ones(value.shape[2], dtype=torch.int64)
        return Range(like * min(low, 0), like * max(high, 0))


def to_node(
    block: SpikingLayer,
    name: str,
    values: Tensor | Range,
    skip_values: Tensor | Range | None = None,
    source: str = "",
    skip_source: str = "",
) -> graph.Spiking:
    """The layer as plain data, for operands that are given or lie within given ranges.

    Refuses, by ValueError with the layer's name, what has no integers: sums beyond 32 bits, numbers that are not
    finite, a plain skip of signed values.
    """
    with torch.no_grad():
        weights = block.quantized()
        main, side = block.signed(weights)
        channels = block.channels(weights).cpu()
    _refuse_not_finite(name, channels, main)
    sums = _reach(main, values)
    skip_sums: Reach | None = None
    count_bound = 0
    if side is not None and skip_values is not None:
        skip_sums = _reach(side, skip_values)
    elif isinstance(block.skip, PlainSkip) and skip_values is not None:
        bounds = skip_values if isinstance(skip_values, Range) else Range.of(skip_values)
        if int(bounds.low.min()) < 0:
            raise ValueError(f"{name}: a plain skip takes spikes or counts, not signed values")
        count_bound = int(bounds.high.max())
    try:
        fire, skip_shift = fold(channels, block.membrane_spec, sums, skip_sums, count_bound, block.stream)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    skip: graph.PlainSkip | graph.WeightedSkip | None = None
    if side is not None and skip_shift is not None:
        shift: NDArray[np.uint8] = skip_shift.to(torch.uint8).numpy()
        skip = graph.WeightedSkip(skip_source, operator(side, block.skip_window), shift)
    elif isinstance(block.skip, PlainSkip):
        skip = graph.PlainSkip(skip_source, block.skip.stride, block.skip.channel_map, count_bound)
    return graph.Spiking(name, source, operator(main, block.window, block.largest), fire, skip)


def operator(codes: Tensor, window: Window | None, largest: Largest | None = None) -> graph.WeightedSum:
    """A weighted sum as plain data."""
    weight = Weight.of(codes.detach().cpu().to(torch.int16).numpy())
    if window is None:
        return graph.Dense(weight)
    pooled = None if largest is None else graph.Largest(largest.kernel, largest.stride)
    return graph.Convolution(weight, window.stride, window.padding, pooled)


def _reach(weight: Tensor, values: Tensor | Range) -> Reach:
    bounds = values if isinstance(values, Range) else Range.of(values)
    return reach(weight.detach().cpu(), bounds.low, bounds.high)


def _refuse_not_finite(name: str, channels: Channels, codes: Tensor) -> None:
    if not all(bool(part.isfinite().all()) for part in (channels.gain, channels.offset, codes)):
        raise ValueError(f"{name} holds weights or batch-norm statistics that are not finite numbers")
    if not bool((channels.gain > 0).all()):
        raise ValueError(f"{name} holds a channel of gain zero; a batch-norm variance of it is not a finite number")
