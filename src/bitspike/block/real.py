"""The real form of a spiking layer: the integer form's exact twin in float64, differentiable.

It runs in units of the weighted sum, where every value is a multiple of a power of two; so each sum, comparison
and rounding below is exact, and the spikes are the integer form's, all of them. Gradients are those of the
training form: they flow through the natural units, a * sum + d.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitspike.block.fold import (
    Channels,
    FixedPoint,
    offset_quotient,
    rounding_shift,
    threshold_quotient,
    whole_rounding,
    whole_threshold,
)
from bitspike.block.spiking import PlainSkip, SpikingLayer, weighted
from bitspike.integer import ops
from bitspike.integer.threefry import random_offsets
from bitspike.neuron import spike
from bitspike.quant import straight_through


def real_spikes(block: SpikingLayer, value: Tensor, skip: Tensor | None) -> Tensor:
    """Spikes [T, B, C, ...] of the layer with running statistics and all quantizers on."""
    weights = block.quantized()
    channels = block.channels(weights)
    main, side = block.signed(weights)
    sums = weighted(_double(value), main.double(), block.window)
    count: Tensor | None = None
    if skip is not None and side is not None:
        other = weighted(_double(skip), side.double(), block.skip_window)
        sums = sums + (other if channels.ratio is None else other * block.spread(torch.exp2(channels.ratio)))
    elif isinstance(block.skip, PlainSkip) and skip is not None:
        count = ops.plain_skip(skip, block.skip.stride, block.skip.channel_map).double()
    if block.largest is not None:
        sums = block.largest.of(sums)
    return _steps(block, sums, count, channels).to(value.dtype)


def _double(value: Tensor) -> Tensor:
    """A value in float64; a static one stays static, so that it is summed once."""
    once = value[:1] if ops.is_static(value) else value
    return once.double().expand(value.shape)


def _steps(block: SpikingLayer, sums: Tensor, count: Tensor | None, channels: Channels) -> Tensor:
    spec = block.membrane_spec
    gain, offset = block.spread(channels.gain), block.spread(channels.offset)
    step = block.spread(torch.exp2(channels.exponent.double()))
    reach = (spec.levels * step * gain).detach()
    fixed, scale = FixedPoint.of(channels, spec), _scale(block, channels)
    leak = float(spec.leak)
    stored = torch.zeros_like(sums[0])  # in units of the sum: exact, decides
    potential = torch.zeros_like(sums[0])  # the same in natural units: carries the gradient
    spikes = []
    for t in range(sums.shape[0]):
        total = leak * stored + sums[t].detach()
        extra: Tensor | float = 0.0 if count is None else count[t]
        needed = threshold_quotient(gain, offset, extra, spec).detach()
        if fixed.is_exact:
            fired = total > needed if spec.strict else total >= needed
        else:
            fired = total * scale >= fixed.held(whole_threshold(needed, scale, spec))
        natural = leak * potential + gain * sums[t] + offset + extra
        out = spike(natural - spec.threshold, fired)
        kept = natural * (1 - out) if spec.reset == "hard" else natural - spec.subtracted * out
        stored = _code(block, total, fired, extra, channels, t) * step
        potential = straight_through(gain * stored, kept.clamp(-reach, reach))
        spikes.append(out)
    return torch.stack(spikes)


@torch.no_grad()
def _code(
    block: SpikingLayer, total: Tensor, fired: Tensor, extra: Tensor | float, channels: Channels, t: int
) -> Tensor:
    """The stored membrane as a whole number of steps."""
    spec = block.membrane_spec
    gain, offset = block.spread(channels.gain), block.spread(channels.offset)
    quotient = _held(block, offset_quotient(gain, offset, extra), channels)
    if spec.reset == "soft":
        quotient = torch.where(
            fired, _held(block, offset_quotient(gain, offset, extra - spec.subtracted), channels), quotient
        )
    fraction: float | Tensor = 0.5 if spec.rounding == "nearest" else 0.0
    if spec.rounding == "stochastic":
        g = rounding_shift(channels, spec)
        pixels = total.shape[2:].numel()
        drawn = random_offsets(block.out_channels, pixels, g, seed=spec.seed, layer=block.stream, step=t)
        fraction = drawn.to(total).reshape(total.shape[1:]) / 2.0**g
    step = block.spread(torch.exp2(channels.exponent.double()))
    code = torch.floor((total + quotient) / step + fraction).clamp(-spec.levels, spec.levels)
    return code.masked_fill(fired, 0) if spec.reset == "hard" else code


def _held(block: SpikingLayer, quotient: Tensor, channels: Channels) -> Tensor:
    """What rounding adds, on the fixed point of the layer's constants, in units of A; without one as it is."""
    spec = block.membrane_spec
    fixed = FixedPoint.of(channels, spec)
    if fixed.is_exact:
        return quotient
    g, scale = rounding_shift(channels, spec), _scale(block, channels)
    half = 2.0 ** (g - 1) if spec.rounding == "nearest" else 0.0
    return (fixed.held(whole_rounding(quotient, scale, g, spec)) - half) / scale


def _scale(block: SpikingLayer, channels: Channels) -> Tensor:
    """2^f per channel: I in units of A."""
    shift = rounding_shift(channels, block.membrane_spec) - channels.exponent
    return block.spread(torch.exp2(shift.double()))
