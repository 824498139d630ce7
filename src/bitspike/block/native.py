"""The float forms of a spiking layer on kernels made for them: the same as `block.training`, some times faster.

Between a layer's weighted sums and its spikes everything happens in one pass over memory (batch norm, skip, leak,
spike, reset, membrane grid, pooling), and once more on the way back, which computes the potentials anew instead of
keeping them. A convolution keeps its input as one bit for each spike. Weighted sums are of the weights' codes, whole
numbers that bfloat16 holds exactly; the batch norm takes the scale in.

Used wherever it can, on a CPU by the engine's C and on a GPU by Triton (`block.kernels`); `plain()` switches it off.
On a GPU nothing here reads a number back, which would wait for all the work queued.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bitspike.block import across, cpu_kernels
from bitspike.block.fold import Channels
from bitspike.block.kernels import Kernels, Neurons
from bitspike.block.norm import ChannelNorm
from bitspike.block.spiking import LayerWeights, PlainSkip, SpikingLayer, Window, looked_at
from bitspike.integer import ops

_CPU = torch.device("cpu")
_ALLOWED: ContextVar[bool] = ContextVar("bitspike_native_training", default=True)


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Train with torch's own operations inside, as on a machine without the engine."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def available() -> bool:
    """Whether the engine's library is there and wanted."""
    return kernels_of(_CPU) is not None


def kernels_of(device: torch.device) -> Kernels | None:
    """The kernels of a device, or None where there are none or they are not wanted."""
    if not _ALLOWED.get():
        return None
    if device.type == "cuda":
        from bitspike.block import gpu_kernels  # a machine without a GPU need not have Triton

        return gpu_kernels if gpu_kernels.available(device) else None
    return cpu_kernels if device.type == "cpu" and cpu_kernels.available() else None


def usable(block: SpikingLayer, value: Tensor, skip: Tensor | None) -> bool:
    """Whether this call of a layer in a float form can run on the kernels; rare combinations stay with torch."""
    membrane = block.membrane_spec
    static = ops.is_static(value)
    return (
        value.dtype in (torch.float32, torch.bfloat16)
        and value.numel() > 0
        and membrane.form == "static"
        and not membrane.strict
        and membrane.subtracted == membrane.threshold
        and (membrane.is_float or membrane.rounding != "stochastic")
        and (block.norm is None or block.bias is None)
        and not block.scale_needs_gradient
        and block.largest is None
        and (skip is None or not (static or ops.is_static(skip) or block.input_scale != 1.0))
        and kernels_of(value.device) is not None
    )


def native_spikes(
    block: SpikingLayer, value: Tensor, skip: Tensor | None, pool: str | None, *, batch: bool
) -> tuple[Tensor, Tensor, int]:
    """Spikes [T, B, C, ...] of a layer, behind a 2x2 pool if one is named ("max", "sum").

    batch: normalize with the batch's statistics and update the running ones, or with the running ones. Besides, of
    what is before the pool: the number of spikes, differentiable, and of places for them.
    """
    steps, samples = value.shape[:2]
    device, kernels = value.device.type, kernels_of(value.device)
    if kernels is None:
        raise ValueError(f"there are no kernels of training for {value.device}; ask `usable` first")
    half = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
    weights = block.quantized().with_constant_scale()
    with torch.autocast(device, enabled=False):
        # Analog inputs are not small integers, so bfloat16 would round their sums; their layer is a small one.
        whole = block.input_scale == 1.0
        total = weighted_sum(kernels, value, weights.main.codes, block.window, half=half and whole)
        extra: Tensor | None = None
        known = False  # whether `extra` is spikes
        if skip is not None and weights.skip is not None:
            side = weighted_sum(kernels, skip, weights.skip.codes, block.skip_window, half=half)
            if block.skip_norm is None:
                total = total + side
            else:
                extra = side
        elif isinstance(block.skip, PlainSkip) and skip is not None:
            extra = _joining(skip, block.skip).flatten(0, 1)
            known = _are_spikes(skip)
        norm, side_norm = block.norm, block.skip_norm
        number = torch.bfloat16 if half else torch.float32
        spikes, fired = _Fire.apply(  # type: ignore[no-untyped-call]
            _Call(kernels, block, weights, batch, steps, samples, pool, number, known),
            total,
            extra,
            None if norm is None else norm.gamma,
            block.bias if norm is None else norm.bias,
            None if side_norm is None else side_norm.gamma,
            None if side_norm is None else side_norm.bias,
        )
    places = steps * samples * total[0].numel()
    spikes = spikes.unflatten(0, (steps, samples))
    if pool != "sum":
        _note_spikes(spikes)
    return spikes, fired, places


def _joining(skip: Tensor, plan: PlainSkip) -> Tensor:
    """`ops.plain_skip`, without copying the map of channels to the device every time, for which a GPU would wait."""
    strided = ops.plain_skip(skip, plan.stride, None)
    if plan.channel_map is None:
        return strided
    index, present = _channel_index(plan.channel_map, skip.device)
    return strided[:, :, index] * present.to(skip.dtype).reshape(-1, *(1,) * (skip.dim() - 3))


@cache
def _channel_index(channel_map: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Which channels join, and whether each is one."""
    with torch.inference_mode(False):  # or they would be of no use to later calls that are differentiated
        index = torch.tensor(channel_map, device=device)
        return index.clamp_min(0), index >= 0


# A GPU would have to wait before it could tell whether a value holds spikes alone, so the layer that made it says so,
# and at which version: who changes it in place takes the note off it.


def _note_spikes(value: Tensor) -> None:
    if not value.is_inference():  # those have no versions, and nothing is kept for a backward pass either
        value.bitspike_spikes = value._version  # type: ignore[attr-defined]


def _are_spikes(value: Tensor) -> bool:
    noted = getattr(value, "bitspike_spikes", None)
    return noted is not None and bool(noted == value._version)


# ---- weighted sums that keep bits ----


def weighted_sum(kernels: Kernels, value: Tensor, weight: Tensor, window: Window | None, *, half: bool) -> Tensor:
    """The weighted sums of [T, B, ...] as [T * B, ...], or as [B, ...] where the value is static."""
    flat = value[0] if ops.is_static(value) else value.flatten(0, 1)
    number = torch.bfloat16 if half else torch.float32
    known = _are_spikes(value)
    if window is not None:
        flat, window = looked_at(flat, weight, window)
    total: Tensor = _Sum.apply(flat, weight, window, number, kernels, known)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        value: Tensor,
        weight: Tensor,
        window: Window | None,
        number: torch.dtype,
        kernels: Kernels,
        spikes: bool,
    ) -> Tensor:
        operand, codes = _dense(value, number), _dense(weight, number)
        ctx.save_for_backward(kernels.pack(operand, spikes=spikes), codes)
        ctx.kernels, ctx.window, ctx.number, ctx.shape = kernels, window, number, value.shape
        ctx.types = value.dtype, weight.dtype
        return F.linear(operand, codes) if window is None else F.conv2d(operand, codes, None, *window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        kept, codes = ctx.saved_tensors
        operand = _unpacked(ctx.kernels, kept, ctx.shape, ctx.number)
        needs_value, needs_weight = ctx.needs_input_grad[:2]
        gradient = _dense(gradients[0], ctx.number)
        of_value: Tensor | None = None
        of_weight: Tensor | None = None
        if ctx.window is None:
            of_value = gradient @ codes if needs_value else None
            of_weight = gradient.T @ operand if needs_weight else None
        else:
            of_value, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient,
                operand,
                codes,
                None,
                ctx.window.stride,
                ctx.window.padding,
                (1, 1),
                False,
                (0, 0),
                1,
                (needs_value, needs_weight, False),
            )
        return (
            None if of_value is None else of_value.to(ctx.types[0]),
            None if of_weight is None else of_weight.to(ctx.types[1]),
            *(None,) * 4,
        )


def _unpacked(kernels: Kernels, kept: Tensor, shape: Sequence[int], number: torch.dtype) -> Tensor:
    """The value of which `Kernels.pack` gave `kept`."""
    if kept.dtype != torch.uint8:
        return kept
    value = _empty(shape, number, kept.device)
    kernels.unpack(kept, value)
    return value


def _dense(value: Tensor, number: torch.dtype) -> Tensor:
    """[N, C, H, W] with the channels of a pixel side by side, or [N, features]; a copy only where needed."""
    layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
    return value.to(number).contiguous(memory_format=layout)


def _empty(shape: Sequence[int], number: torch.dtype, device: torch.device) -> Tensor:
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=number, device=device, memory_format=layout)


# ---- from sums to spikes ----


class _Call(NamedTuple):
    """What one call of a layer is about, besides tensors that have gradients."""

    kernels: Kernels
    block: SpikingLayer
    weights: LayerWeights
    batch: bool  # whether norms take the batch's statistics
    steps: int
    samples: int
    pool: str | None
    number: torch.dtype  # of spikes
    known: bool  # whether the skip's operand is spikes


class _Norm(NamedTuple):
    """Sums x and their batch norm, per channel in float64: gain * (x - mean) + offset."""

    mean: Tensor
    inverse: Tensor  # 1 / deviation, of x
    gain: Tensor
    slope: Tensor  # the gain in the gradient's way through the variance; where it is held, not the same
    rows: float  # how many numbers are behind mean and deviation; infinite where these are constants


class _Fire(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        call: _Call,
        total: Tensor,
        extra: Tensor | None,
        gamma: Tensor | None,
        beta: Tensor | None,
        side_gamma: Tensor | None,
        side_beta: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        block, weights = call.block, call.weights
        sums = _dense(total, total.dtype)
        scale = _vector(weights.main.scale) * block.input_scale
        if block.norm is None or gamma is None:
            nothing = torch.zeros_like(scale)
            main = _Norm(nothing, nothing, scale, nothing, math.inf)
        else:
            main = _normed(call, block.norm, sums, scale, _vector(gamma))
        # The step and the ratio of the gains come from running statistics, in which this batch is by now.
        channels = None if block.membrane_spec.is_float else block.channels(weights)
        side: _Norm | None = None
        if extra is not None:
            extra = _dense(extra, call.number)
            if block.skip_norm is not None and side_gamma is not None:
                side = _side(call, extra, _vector(side_gamma), main, channels)
        ctx.neurons = Neurons(
            call.steps,
            call.samples,
            call.pool,
            block.membrane_spec,
            _parameters(main, side, (beta, side_beta), channels),
        )
        ctx.call, ctx.main, ctx.side = call, main, side
        ctx.save_for_backward(sums, None if extra is None else call.kernels.pack(extra, spikes=call.known))
        ctx.extra_shape = None if extra is None else extra.shape
        halves = 1 if call.pool is None else 2
        shape = [call.steps * call.samples, sums.shape[1], *(size // halves for size in sums.shape[2:])]
        spikes = _empty(shape, call.number, sums.device)
        return spikes, call.kernels.forward(ctx.neurons, sums, extra, spikes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sums, kept = ctx.saved_tensors
        kernels, number = ctx.call.kernels, ctx.call.number
        extra = None if kept is None else _unpacked(kernels, kept, ctx.extra_shape, number)
        main, side = ctx.main, ctx.side
        gradient, flow = _dense(gradients[0], number), torch.empty_like(sums)
        own = kernels.backward(ctx.neurons, sums, extra, gradient, gradients[1], flow)
        of_flow, of_sums, of_extra = across.summed(own)
        back: Tensor | None = None
        if side is not None and extra is not None:
            back = _through(kernels, side, flow, extra, of_flow, of_extra, into=torch.empty_like(extra))
        elif extra is not None:
            back = flow
        into = flow if back is not flow else torch.empty_like(flow)
        of_total = _through(kernels, main, flow, sums, of_flow, of_sums, into=into)
        of_gamma, of_beta = (main.inverse * own[1]).float(), own[0].float()
        of_side_gamma = None if side is None else (side.inverse * own[2]).float()
        all_of_them = (None, of_total, back, of_gamma, of_beta, of_side_gamma, of_beta)
        return tuple(found if needed else None for found, needed in zip(all_of_them, ctx.needs_input_grad, strict=True))


def _parameters(main: _Norm, side: _Norm | None, betas: Sequence[Tensor | None], channels: Channels | None) -> Tensor:
    """Rows as `kernels.PARAMETERS` names them."""
    step = torch.ones_like(main.gain) if channels is None else channels.gain * torch.exp2(channels.exponent.double())
    shift = -main.gain * main.mean
    extra_gain, extra_mean = torch.ones_like(step), torch.zeros_like(step)
    if side is not None:
        extra_gain, extra_mean = side.gain, side.mean
        shift -= side.gain * side.mean
    for beta in betas:
        if beta is not None:
            shift += _vector(beta)
    rows = torch.stack([main.gain, shift, extra_gain, step, main.mean, extra_mean])
    rows[:3] /= step
    return rows.float()


def _normed(call: _Call, norm: ChannelNorm, sums: Tensor, scale: Tensor, gamma: Tensor) -> _Norm:
    """The norm of sums that stand for scale * sums, by the batch or by what was kept of earlier ones."""
    return _measured(call.kernels, norm, sums, scale, gamma) if call.batch else _kept(norm, scale, gamma)


def _kept(norm: ChannelNorm, scale: Tensor, gamma: Tensor) -> _Norm:
    """The norm with the running statistics, which are constants."""
    inverse = scale / torch.sqrt(_vector(norm.running_var) + norm.eps)
    gain = gamma * inverse
    return _Norm(_vector(norm.running_mean) / scale, inverse, gain, torch.zeros_like(gain), math.inf)


def _measured(kernels: Kernels, norm: ChannelNorm, sums: Tensor, scale: Tensor, gamma: Tensor) -> _Norm:
    """The norm of a batch of sums that stand for scale * sums; its running statistics take the batch in."""
    share = sums.numel() // sums.shape[1]
    rows = share * across.processes()
    if rows < 2:
        raise ValueError(f"batch norm in training needs more than 1 value per channel; it got {list(sums.shape)}")
    mean, squares = across.moments(share, *kernels.moments(sums))
    variance = squares * (scale**2 / rows)
    norm.running_mean.lerp_((mean * scale).float(), norm.momentum)
    norm.running_var.lerp_((variance * (rows / (rows - 1))).float(), norm.momentum)
    inverse = scale / torch.sqrt(variance + norm.eps)
    gain = gamma * inverse
    return _Norm(mean, inverse, gain, gain, rows)


def _side(call: _Call, extra: Tensor, gamma: Tensor, main: _Norm, channels: Channels | None) -> _Norm:
    """The norm of a skip's sums, its gain held at a power of two times the main one where integers come of it."""
    block, weights = call.block, call.weights
    if block.skip_norm is None or weights.skip is None:
        raise ValueError(f"{block.label} has no skip with a norm of its own")
    side = _normed(call, block.skip_norm, extra, _vector(weights.skip.scale), gamma)
    if channels is None or channels.ratio is None or not block.has_integer_form:
        return side
    return side._replace(gain=torch.sign(gamma) * main.gain.abs() * torch.exp2(channels.ratio))


def _through(
    kernels: Kernels, norm: _Norm, flow: Tensor, value: Tensor, of_flow: Tensor, of_value: Tensor, *, into: Tensor
) -> Tensor:
    """d loss / d sums, from d loss / d current and its sums over the batch.

    gain (flow - mean flow) - slope (x - mean) inverse^2 sum(flow (x - mean)) / count
    """
    scaled = norm.slope * norm.inverse**2 * of_value / norm.rows
    mean = norm.gain * of_flow / norm.rows
    rows = torch.stack([norm.gain, -scaled, scaled * norm.mean - mean])
    kernels.affine(flow, value, rows.float(), into)
    return into


def _vector(value: Tensor) -> Tensor:
    return value.detach().double()
