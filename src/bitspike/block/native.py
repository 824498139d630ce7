"""The training form of a spiking layer on the engine's kernels: the same as `block.training`, some times faster.

Between a layer's weighted sums and its spikes everything happens in one pass over memory (batch norm, skip, leak,
spike, reset, membrane grid, pooling), and once more on the way back, which computes the potentials anew instead of
keeping them. A convolution keeps its input as one bit for each spike. Weighted sums are of the weights' codes, whole
numbers that bfloat16 holds exactly; the batch norm takes the scale in.

Used in training on a CPU wherever it can; `plain()` switches it off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bitspike.block.norm import ChannelNorm
from bitspike.block.spiking import LayerWeights, PlainSkip, SpikingLayer, Window
from bitspike.engine import library as engine_library
from bitspike.engine import training as kernels
from bitspike.engine.library import Layer
from bitspike.integer import ops

Vector = NDArray[np.float64]
_ALLOWED: ContextVar[bool] = ContextVar("bitspike_native_training", default=True)
_POOLS = {None: 0, "max": 1, "sum": 2}


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
    return _ALLOWED.get() and bool(engine_library.builds())


def usable(block: SpikingLayer, value: Tensor, skip: Tensor | None) -> bool:
    """Whether this call of a layer in training can run on the kernels; rare combinations stay with torch."""
    membrane = block.membrane_spec
    static = ops.is_static(value)
    return (
        value.device.type == "cpu"
        and value.dtype in (torch.float32, torch.bfloat16)
        and value.numel() > 0
        and membrane.form == "static"
        and (membrane.is_float or membrane.rounding != "stochastic")
        and (block.norm is None or block.bias is None)
        and (skip is None or not (static or ops.is_static(skip) or block.input_scale != 1.0))
        and available()
    )


def native_spikes(
    block: SpikingLayer, value: Tensor, skip: Tensor | None, pool: str | None
) -> tuple[Tensor, Tensor, int]:
    """Spikes [T, B, C, ...] of a layer with batch statistics, behind a 2x2 pool if one is named ("max", "sum").

    Besides, of what is before the pool: the number of spikes, differentiable, and of places for them.
    """
    steps, samples = value.shape[:2]
    half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    weights = block.quantized()
    with torch.autocast("cpu", enabled=False):
        # Analog inputs are not small integers, so bfloat16 would round their sums; their layer is a small one.
        total = weighted_sum(value, weights.main.codes, block.window, half=half and block.input_scale == 1.0)
        extra: Tensor | None = None
        if skip is not None and weights.skip is not None:
            side = weighted_sum(skip, weights.skip.codes, block.skip_window, half=half)
            if block.skip_norm is None:
                total = total + side
            else:
                extra = side
        elif isinstance(block.skip, PlainSkip) and skip is not None:
            extra = ops.plain_skip(skip, block.skip.stride, block.skip.channel_map).flatten(0, 1)
        norm, side_norm = block.norm, block.skip_norm
        spikes, fired = _Fire.apply(  # type: ignore[no-untyped-call]
            _Call(block, weights, steps, samples, pool, torch.bfloat16 if half else torch.float32),
            total,
            extra,
            None if norm is None else norm.gamma,
            block.bias if norm is None else norm.bias,
            None if side_norm is None else side_norm.gamma,
            None if side_norm is None else side_norm.bias,
        )
    places = steps * samples * total[0].numel()
    return spikes.unflatten(0, (steps, samples)), fired, places


# ---- weighted sums that keep bits ----


def weighted_sum(value: Tensor, weight: Tensor, window: Window | None, *, half: bool) -> Tensor:
    """The weighted sums of [T, B, ...] as [T * B, ...], or as [B, ...] where the value is static."""
    flat = value[0] if ops.is_static(value) else value.flatten(0, 1)
    number = torch.bfloat16 if half else torch.float32
    total: Tensor = _Sum.apply(flat, weight, window, number)  # type: ignore[no-untyped-call]
    return total


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, window: Window | None, number: torch.dtype) -> Tensor:
        operand, codes = _dense(value, number), _dense(weight, number)
        ctx.save_for_backward(_packed(operand), codes)
        ctx.window, ctx.number, ctx.shape = window, number, value.shape
        ctx.types = value.dtype, weight.dtype
        return F.linear(operand, codes) if window is None else F.conv2d(operand, codes, None, *window)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        kept, codes = ctx.saved_tensors
        operand = _unpacked(kept, ctx.shape, ctx.number)
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
            None,
            None,
        )


def _packed(value: Tensor) -> Tensor:
    """One bit for each spike, as uint8; the value itself where it holds other numbers than 0 and 1."""
    bits = torch.empty((value.numel() + 7) // 8, dtype=torch.uint8)
    whole = kernels.pack(value.data_ptr(), value.numel(), bits.data_ptr(), half=value.dtype == torch.bfloat16)
    return bits if whole else value


def _unpacked(kept: Tensor, shape: Sequence[int], number: torch.dtype) -> Tensor:
    if kept.dtype != torch.uint8:
        return kept
    value = _empty(shape, number)
    kernels.unpack(kept.data_ptr(), value.numel(), value.data_ptr(), half=number == torch.bfloat16)
    return value


def _dense(value: Tensor, number: torch.dtype) -> Tensor:
    """[N, C, H, W] with the channels of a pixel side by side, or [N, features]; a copy only where needed."""
    layout = torch.channels_last if value.dim() == 4 else torch.contiguous_format
    return value.to(number).contiguous(memory_format=layout)


def _empty(shape: Sequence[int], number: torch.dtype) -> Tensor:
    layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return torch.empty(tuple(shape), dtype=number, memory_format=layout)


# ---- from sums to spikes ----


class _Call(NamedTuple):
    """What one call of a layer is about, besides tensors that have gradients."""

    block: SpikingLayer
    weights: LayerWeights
    steps: int
    samples: int
    pool: str | None
    number: torch.dtype  # of spikes


class _Norm(NamedTuple):
    """Sums x and their batch norm, per channel in float64: gain * (x - mean) + offset."""

    mean: Vector
    inverse: Vector  # 1 / deviation, of x
    gain: Vector
    slope: Vector  # the gain in the gradient's way through the variance; where it is held, not the same
    rows: int  # how many numbers are behind mean and deviation


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
        offset = _vector(beta) if beta is not None else np.zeros_like(scale)
        if block.norm is None or gamma is None:
            nothing = np.zeros_like(scale)
            main = _Norm(nothing, nothing, scale, nothing, 1)
        else:
            main = _measured(block.norm, sums, scale, _vector(gamma))
        side: _Norm | None = None
        if extra is not None:
            extra = _dense(extra, call.number)
            if block.skip_norm is not None and side_gamma is not None and side_beta is not None:
                side = _side(call, extra, _vector(side_gamma), main)
                offset = offset + _vector(side_beta)
        step = _step(block, weights) if not block.membrane_spec.is_float else np.ones_like(scale)
        shift = offset - main.gain * main.mean - (0.0 if side is None else side.gain * side.mean)
        rows = (main.gain / step, shift / step, (1.0 if side is None else side.gain) / step, step, main.mean)
        ctx.rows = np.stack([*rows, np.zeros_like(step) if side is None else side.mean]).astype(np.float32)
        ctx.call, ctx.main, ctx.side = call, main, side
        ctx.save_for_backward(sums, None if extra is None else _packed(extra))
        ctx.extra_shape = None if extra is None else extra.shape
        halves = 1 if call.pool is None else 2
        shape = [call.steps * call.samples, sums.shape[1], *(size // halves for size in sums.shape[2:])]
        spikes = _empty(shape, call.number)
        layer = _layer(ctx, sums, extra)
        layer.spikes = spikes.data_ptr()
        count = kernels.forward(layer, torch.get_num_threads())
        return spikes, torch.tensor(float(count))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sums, kept = ctx.saved_tensors
        extra = None if kept is None else _unpacked(kept, ctx.extra_shape, ctx.call.number)
        main, side = ctx.main, ctx.side
        gradient, flow = _dense(gradients[0], ctx.call.number), torch.empty_like(sums)
        layer = _layer(ctx, sums, extra)
        layer.gradient, layer.flow, layer.per_spike = gradient.data_ptr(), flow.data_ptr(), float(gradients[1])
        of_flow, of_sums, of_extra = kernels.backward(layer, torch.get_num_threads())
        back: Tensor | None = None
        if side is not None and extra is not None:
            back = _through(side, flow, extra, of_flow, of_extra, into=torch.empty_like(extra))
        elif extra is not None:
            back = flow
        into = flow if back is not flow else torch.empty_like(flow)
        of_total = _through(main, flow, sums, of_flow, of_sums, into=into)
        of_gamma, of_beta = _tensor(main.inverse * of_sums), _tensor(of_flow)
        of_side_gamma = None if side is None else _tensor(side.inverse * of_extra)
        all_of_them = (None, of_total, back, of_gamma, of_beta, of_side_gamma, of_beta)
        return tuple(found if needed else None for found, needed in zip(all_of_them, ctx.needs_input_grad, strict=True))


def _layer(ctx: Any, sums: Tensor, extra: Tensor | None) -> Layer:
    """The call in the kernels' terms; `ctx` keeps alive what it points to."""
    call, membrane, rows = ctx.call, ctx.call.block.membrane_spec, ctx.rows
    height, width = sums.shape[2:] if sums.dim() == 4 else (1, 1)
    address, row = rows.ctypes.data, rows.strides[0]
    names = ("gain", "shift", "extra_gain", "step", "mean", "extra_mean")
    return Layer(
        steps=call.steps,
        samples=call.samples,
        height=height,
        width=width,
        channels=sums.shape[1],
        half_sums=sums.dtype == torch.bfloat16,
        half_spikes=call.number == torch.bfloat16,
        fixed=call.steps > 1 and sums.shape[0] == call.samples,
        pool=_POOLS[call.pool],
        soft=membrane.reset == "soft",
        levels=0 if membrane.is_float else membrane.levels,
        offset=0.5 if membrane.rounding == "nearest" else 0.0,
        leak=float(membrane.leak),
        threshold=membrane.threshold,
        sums=sums.data_ptr(),
        extra=None if extra is None else extra.data_ptr(),
        **{name: address + number * row for number, name in enumerate(names)},
    )


def _step(block: SpikingLayer, weights: LayerWeights) -> Vector:
    channels = block.channels(weights)
    return (channels.gain * torch.exp2(channels.exponent.double())).numpy()


def _measured(norm: ChannelNorm, sums: Tensor, scale: Vector, gamma: Vector) -> _Norm:
    """The norm of a batch of sums that stand for scale * sums; its running statistics take the batch in."""
    rows = sums.numel() // sums.shape[1]
    if rows < 2:
        raise ValueError(f"batch norm in training needs more than 1 value per channel; it got {list(sums.shape)}")
    half = sums.dtype == torch.bfloat16
    mean, squares = kernels.moments(sums.data_ptr(), rows, sums.shape[1], half=half, threads=torch.get_num_threads())
    variance = squares / rows
    norm.running_mean.lerp_(_tensor(mean * scale), norm.momentum)
    norm.running_var.lerp_(_tensor(variance * scale**2 * (rows / max(rows - 1, 1))), norm.momentum)
    inverse = scale / np.sqrt(variance * scale**2 + norm.eps)
    return _Norm(mean, inverse, gamma * inverse, gamma * inverse, rows)


def _side(call: _Call, extra: Tensor, gamma: Vector, main: _Norm) -> _Norm:
    """The norm of a skip's sums, its gain held at a power of two times the main one where integers come of it."""
    block, weights = call.block, call.weights
    if block.skip_norm is None or weights.skip is None:
        raise ValueError(f"{block.label} has no skip with a norm of its own")
    ratio = block.channels(weights).ratio if block.has_integer_form else None
    side = _measured(block.skip_norm, extra, _vector(weights.skip.scale), gamma)
    if ratio is None:
        return side
    return side._replace(gain=np.sign(gamma) * np.abs(main.gain) * np.exp2(ratio.numpy()))


def _through(norm: _Norm, flow: Tensor, value: Tensor, of_flow: Vector, of_value: Vector, *, into: Tensor) -> Tensor:
    """d loss / d sums, from d loss / d current and its sums over the batch.

    gain (flow - mean flow) - slope (x - mean) inverse^2 sum(flow (x - mean)) / count
    """
    scaled = norm.slope * norm.inverse**2 * of_value / norm.rows
    mean = 0.0 if not norm.inverse.any() else norm.gain * of_flow / norm.rows
    rows = np.stack([norm.gain, -scaled, scaled * norm.mean - mean]).astype(np.float32)
    kernels.affine(
        flow.data_ptr(),
        value.data_ptr(),
        into.data_ptr(),
        flow.numel() // flow.shape[1],
        rows,
        half=flow.dtype == torch.bfloat16,
        threads=torch.get_num_threads(),
    )
    return into


def _vector(value: Tensor) -> Vector:
    return value.detach().double().numpy()


def _tensor(value: Vector) -> Tensor:
    return torch.from_numpy(value.astype(np.float32))
