"""The definition of the integer form, written for clarity on torch integer tensors.

Every other implementation (the blocks' eval form calls these; the engine and the exported C are tested
against them) computes the same integers. Values are int32 tensors [T, B, ...]. A value that is the same at all
steps (a static image) is an expanded view with stride 0 in time, and is worked on once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Input,
    Integers,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
    WeightedSum,
)
from bitspike.integer.threefry import random_offsets

EXACT_FLOAT32 = 1 << 24


def is_static(value: Tensor) -> bool:
    """Whether all time steps are one and the same memory."""
    return value.shape[0] > 1 and value.stride(0) == 0


def per_sample(function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """Apply a function of [N, ...] to [T, B, ...], once where the value is static."""
    steps = value.shape[0]
    once = value[:1] if is_static(value) else value
    result = function(once.flatten(0, 1))
    result = result.reshape(once.shape[0], once.shape[1], *result.shape[1:])
    return result.expand(steps, *result.shape[1:]) if is_static(value) else result


def center(samples: Tensor, node: Input) -> Tensor:
    """uint8 samples to pixels minus their zero point; [T, B, C, H, W] of events stay as they are."""
    zero = torch.tensor(node.zero_point, dtype=torch.int32, device=samples.device).reshape(-1, 1, 1)
    return samples.to(torch.int32) - zero


def weighted_sum(value: Tensor, operator: WeightedSum) -> Tensor:
    """A = sum(W * x), or the largest of a window of them, exactly.

    In float32 while no partial sum can reach 2^24, else in float64.

    Float32 only on a CPU, whose convolutions are direct or matrix products; a GPU may choose transforms or narrower
    operands.
    """
    weight = torch.from_numpy(operator.weight.codes).to(value.device)
    once = value[:1] if is_static(value) else value
    reach = int(once.abs().max()) if once.numel() else 0
    largest = reach * int(weight.to(torch.int64).abs().flatten(1).sum(1).max())
    real = torch.float32 if largest < EXACT_FLOAT32 and value.device.type == "cpu" else torch.float64

    def apply(samples: Tensor) -> Tensor:
        if isinstance(operator, Convolution):
            total = F.conv2d(samples.to(real), weight.to(real), None, operator.stride, operator.padding)
            if operator.largest is not None:
                total = F.max_pool2d(total, operator.largest.kernel, operator.largest.stride)
        else:
            total = F.linear(samples.to(real), weight.to(real))
        return torch.round(total).to(torch.int32)

    with torch.autocast(value.device.type, enabled=False):
        return per_sample(apply, value)


def plain_skip(value: Tensor, stride: int, channel_map: tuple[int, ...] | None) -> Tensor:
    """j: the operand's spikes or counts at every stride-th pixel, with channels mapped."""
    if value.dim() == 5:
        value = value[..., ::stride, ::stride]
    if channel_map is None:
        return value
    index = torch.tensor(channel_map, device=value.device)
    present = (index >= 0).to(value.dtype).reshape(-1, *(1,) * (value.dim() - 3))
    return value[:, :, index.clamp_min(0)] * present


@dataclass
class Membrane:
    """The state of one spiking layer between steps: stored potential [B, C, ...] and steps done."""

    potential: Tensor
    steps: int = 0


def currents(value: Tensor, skip: Tensor | None, node: Spiking) -> tuple[Tensor, Tensor | None]:
    """What every step adds to the membrane, (A << f) + (A' << (f + s)), and the counts j of a plain skip."""
    total = weighted_sum(value, node.operator) << _per_channel(node.fire.shift, value)
    count: Tensor | None = None
    if isinstance(node.skip, PlainSkip) and skip is not None:
        count = plain_skip(skip, node.skip.stride, node.skip.channel_map)
    elif isinstance(node.skip, WeightedSkip) and skip is not None:
        operator = node.skip.operator
        total = total + (weighted_sum(skip, operator) << _per_channel(node.skip.shift, value))
    return total, count


def spiking(
    value: Tensor, skip: Tensor | None, node: Spiking, state: Membrane | None = None
) -> tuple[Tensor, Membrane]:
    """All given steps of one layer: spikes [T, B, C, ...] and the membrane after them.

    skip: the operand of `node.skip`. Called with all T steps, or step by step with the state handed on:
    the same spikes.
    """
    total, count = currents(value, skip, node)
    if state is None:
        state = Membrane(torch.zeros_like(total[0]))
    potential = state.potential
    spikes = torch.empty_like(total, memory_format=torch.contiguous_format)
    for t in range(total.shape[0]):
        now = None if count is None else count[t]
        spikes[t], potential = fire_step(total[t], potential, now, node.fire, state.steps + t)
    return spikes, Membrane(potential, state.steps + total.shape[0])


def fire_step(current: Tensor, potential: Tensor, count: Tensor | None, fire: Fire, step: int) -> tuple[Tensor, Tensor]:
    """One step of one layer: shifted sums [B, C, ...] and stored U to (spikes, stored U).

    I = ((U * leak) << h) + current;   S = I >= theta[c, j]
    U = 0 if S else clamp((I + r[c, j] + random) >> g, -n, n);   soft reset: r1[c, j] where S
    """
    total = ((potential * fire.leak) << fire.h) + current
    spikes = total >= _at(fire.threshold, count, current)
    offset = _at(fire.rounding, count, current)
    if fire.rounding_fired is not None:
        offset = torch.where(spikes, _at(fire.rounding_fired, count, current), offset)
    if fire.stochastic:
        pixels = current.shape[2:].numel()
        drawn = random_offsets(current.shape[1], pixels, fire.g, seed=fire.seed, layer=fire.stream, step=step)
        offset = offset + drawn.to(current.device).reshape(current.shape[1:])
    stored = ((total + offset) >> fire.g).clamp(-fire.levels, fire.levels)
    if fire.reset == "hard":
        stored = stored.masked_fill(spikes, 0)
    return spikes.to(torch.int32), stored


def _per_channel(values: Integers, like: Tensor) -> Tensor:
    tensor = torch.as_tensor(values, dtype=torch.int32, device=like.device)
    return tensor.reshape(-1, 1, 1) if like.dim() == 5 else tensor


def _at(table: Integers, count: Tensor | None, like: Tensor) -> Tensor:
    """table[c, j] for every neuron."""
    tensor = torch.as_tensor(table, dtype=torch.int32, device=like.device)
    shape = (-1, *(1,) * (like.dim() - 2))
    if count is None or tensor.shape[1] == 1:
        return tensor[:, 0].reshape(shape)
    channel = torch.arange(tensor.shape[0], device=like.device).reshape(shape)
    return tensor[channel, count.long()]


def pool(value: Tensor, node: Pool) -> Tensor:
    """max: OR of spikes; sum: their count, where other tools take the average."""
    if node.kernel is None:
        reduced = value.amax((-2, -1), keepdim=True) if node.kind == "max" else value.sum((-2, -1), keepdim=True)
        return reduced.to(torch.int32)
    kernel, stride, padding = node.kernel, node.stride, node.padding

    def apply(samples: Tensor) -> Tensor:
        real = samples.double()  # counts are small: exact
        if node.kind == "max":
            return F.max_pool2d(real, kernel, stride, padding).to(torch.int32)
        return F.avg_pool2d(real, kernel, stride, padding, divisor_override=1).to(torch.int32)

    return per_sample(apply, value)


def readout(value: Tensor, node: Readout) -> Tensor:
    """W x[t] of every step [T, B, K] as int64; their sum over t plus the bias is the result."""
    return weighted_sum(value, Dense(node.weight)).to(torch.int64)
