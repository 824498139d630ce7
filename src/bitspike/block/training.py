"""The training form of a spiking layer: float, batch statistics, straight-through gradients.

Also evaluates, with running statistics, layers that have no integer form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitspike.block.fold import Channels
from bitspike.block.norm import ChannelNorm, batch_moments
from bitspike.block.spiking import LayerWeights, PlainSkip, SpikingLayer, per_row, weighted
from bitspike.integer import ops
from bitspike.neuron import lif
from bitspike.quant import straight_through


def float_spikes(block: SpikingLayer, value: Tensor, skip: Tensor | None, *, batch: bool) -> Tensor:
    """Spikes [T, B, C, ...]; batch: normalize with the batch's statistics and update the running ones."""
    current, step = float_current(block, value, skip, batch=batch)
    return lif(current, block.membrane_spec, step)


def float_current(
    block: SpikingLayer, value: Tensor, skip: Tensor | None, *, batch: bool
) -> tuple[Tensor, Tensor | None]:
    """What the membrane integrates at every step, and the membrane's step per channel (None stores in float)."""
    weights = block.quantized()
    if batch and block.norm is not None:
        # The batch's statistics take any scale out again, so none is asked for a gradient, here and in the kernels.
        weights = weights.with_constant_scale()
    membrane = block.membrane_spec
    static = not (membrane.is_float or membrane.form == "dynamic")
    current = _current(block, weights, value, skip, batch=batch)
    step: Tensor | None = None
    if static:
        with torch.no_grad():
            channels = block.channels(weights)
            step = block.spread(channels.gain * torch.exp2(channels.exponent.double())).float()
    return current, step


def _current(block: SpikingLayer, weights: LayerWeights, value: Tensor, skip: Tensor | None, *, batch: bool) -> Tensor:
    """The normalized sum, with the skip's contribution: what the membrane integrates."""
    device = value.device.type
    # Analog inputs are not small integers, so bfloat16 would round them; their layer is a small one.
    mixed = torch.is_autocast_enabled(device) and block.input_scale == 1.0
    with torch.autocast(device, enabled=mixed):
        total = weighted(value, per_row(weights.main.codes, weights.main.scale * block.input_scale), block.window)
        side: Tensor | None = None
        if skip is not None and weights.skip is not None:
            side = weighted(skip, per_row(weights.skip.codes, weights.skip.scale), block.skip_window)
            if block.skip_norm is None:
                total = total + side
    if block.bias is not None:
        total = total + block.spread(block.bias)
    current = _normalized(block.norm, total, batch=batch)
    if side is not None and block.skip_norm is not None:
        current = current + _side_current(block, weights, total, side, batch=batch)
    if isinstance(block.skip, PlainSkip) and skip is not None:
        current = current + ops.plain_skip(skip, block.skip.stride, block.skip.channel_map)
    return current if block.largest is None else block.largest.of(current)


def _normalized(norm: ChannelNorm | None, total: Tensor, *, batch: bool) -> Tensor:
    if norm is None:
        return total
    layout = torch.channels_last if total.dim() == 5 else torch.preserve_format

    def apply(part: Tensor) -> Tensor:
        # A one-channel input gives its convolution's result in the slow layout. And the gradient of a batch of one
        # comes in channels_last: for a part in the other layout torch's batch norm would sum it up wrongly.
        part = part.contiguous(memory_format=layout) if layout is torch.channels_last else part
        result: Tensor = norm(part, batch=batch)
        return result

    return ops.per_sample(apply, total)


def _side_current(block: SpikingLayer, weights: LayerWeights, total: Tensor, side: Tensor, *, batch: bool) -> Tensor:
    """The skip through its own batch norm, its gain held at 2^s times the main one (straight-through).

    Where no integers will come of the layer, nothing is held: a float network is the published one.
    """
    norm, side_norm = block.norm, block.skip_norm
    if norm is None or side_norm is None or weights.skip is None:
        raise ValueError(f"{block.label} has no skip with a norm of its own")
    if not block.has_integer_form:
        return _normalized(side_norm, side, batch=batch)
    with torch.no_grad():
        channels: Channels = block.channels(weights)
    ratio = torch.ones_like(channels.gain) if channels.ratio is None else torch.exp2(channels.ratio)
    if batch:
        _, main_variance = batch_moments(once(total).detach())
        mean, variance = side_norm.batch_statistics(once(side))
    else:
        main_variance, mean, variance = norm.running_var, side_norm.running_mean, side_norm.running_var
    gain = side_norm.gamma / torch.sqrt(variance + side_norm.eps)
    main_gain = norm.gamma.abs() / torch.sqrt(main_variance + norm.eps) * weights.main.scale * block.input_scale
    held = side_norm.gamma.sign() * main_gain * ratio / weights.skip.scale
    gain = straight_through(held.to(gain.dtype), gain)
    return side * block.spread(gain) + block.spread(side_norm.bias - mean * gain)


def once(value: Tensor) -> Tensor:
    """[T, B, ...] as [N, ...] samples, without the repetitions of a static value."""
    return value[0] if ops.is_static(value) else value.flatten(0, 1)
