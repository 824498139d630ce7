"""The spiking layers that networks are built from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block.base import Form, count, integers, is_watched, pair
from bitspike.block.native import native_spikes, usable
from bitspike.block.plain import MaxPool, SumPool
from bitspike.block.real import real_spikes
from bitspike.block.spiking import ConvSkip, Largest, Skip, SpikingLayer, Window
from bitspike.block.to_integers import to_node
from bitspike.block.training import float_spikes
from bitspike.integer import ops

FiringListener = Callable[[Tensor, int], None]


class SpikingBlock(SpikingLayer):
    """Common base of `SpikingConv2d` and `SpikingLinear`: a spiking layer that runs in the form that is asked for.

    pool: max or sum pooling of the spikes, which the block ends with; a block of its own in the integer form.
    on_firing: functions that get the number of spikes, before pooling, and of places for them, at every call.
    """

    def __init__(self, weight: Tensor, *, pool: MaxPool | SumPool | None = None, **options: Any) -> None:
        super().__init__(weight, **options)
        if pool is not None and not isinstance(pool, MaxPool | SumPool):
            raise TypeError(f"{type(self).__name__}: pool is {pool!r}; give MaxPool(2) or SumPool(2), say, or None")
        self.pool = pool
        self.on_firing: list[FiringListener] = []

    def forward(self, *operands: Tensor) -> Tensor:
        """Spikes, behind the pool if there is one."""
        form = self.form
        if form in (Form.TRAINING, Form.FLOAT) and not is_watched():
            value, skip = self.operands(operands)
            if usable(self, value, skip):
                fused = self.pool if self.pool is not None and self.pool.halves else None
                kind = None if fused is None else fused.kind
                spikes, fired, places = native_spikes(self, value, skip, kind, batch=form is Form.TRAINING)
                counted = fired if fired.requires_grad else fired.long()  # long, as sums over many batches are exact
                for listener in self.on_firing:
                    listener(counted, places)
                return spikes if self.pool is None or fused is not None else self.pool(spikes)
        spikes = super().forward(*operands)
        if self.on_firing:
            # Without a gradient, counted as whole numbers, so that the result does not depend on the batch size.
            fired = spikes.sum(dtype=torch.float32) if spikes.requires_grad else spikes.count_nonzero()
            for listener in self.on_firing:
                listener(fired, spikes.numel())
        return spikes if self.pool is None else self.pool(spikes)

    def check(self, value: Tensor) -> None:
        """Refuse an input of the wrong shape, also one that leaves the pool nothing."""
        super().check(value)
        if self.pool is not None and self.window is not None:
            sizes = self.window.sizes(value.shape[3:], self.weight.shape[2:])
            self.pool.refuse_small(sizes if self.largest is None else self.largest.sizes(sizes), self.label)

    def compute(self, *operands: Tensor) -> Tensor:
        """Spikes [T, B, C, ...] of the input [T, B, ...] and, with a skip, of its operand."""
        value, skip = self.operands(operands)
        form = self.form
        if form is Form.REAL:
            with torch.autocast(value.device.type, enabled=False):
                return real_spikes(self, value, skip)
        if form is not Form.INTEGER:
            return float_spikes(self, value, skip, batch=form is Form.TRAINING)
        whole = integers(value, self.label)
        whole_skip = None if skip is None else integers(skip, self.label)
        node = to_node(self, self.label, whole, whole_skip)
        spikes, _ = ops.spiking(whole, whole_skip, node)
        return spikes.to(value.dtype)


class SpikingConv2d(SpikingBlock):
    """Convolution, batch norm, optional skip, spiking neurons: [T, B, C_in, H, W] to spikes [T, B, C_out, H', W'].

    padding defaults to half the kernel. input_scale is the real value of one unit of the input: 1 for spikes and
    counts, 1 / (255 std) for the first layer of an image network. With a skip, call it as `block(x, skip)`.
    pool: `MaxPool(2)`, say; the same network as with a block of its own behind this one, but faster to train.
    pool_sums: `MaxPool(2)`, say: max pooling before the neurons, where many networks of other libraries have it. There
    are fewer neurons then, and what they decide is another thing; not beside a skip. It trains with torch's operations.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        bias: bool = False,
        norm: bool = True,
        skip: Skip | None = None,
        input_scale: float = 1.0,
        pool: MaxPool | SumPool | None = None,
        pool_sums: MaxPool | None = None,
    ) -> None:
        kernel, steps = pair(kernel_size), pair(stride)
        count("SpikingConv2d", in_channels=in_channels, out_channels=out_channels)
        count("SpikingConv2d.kernel_size", height=kernel[0], width=kernel[1])
        count("SpikingConv2d.stride", vertical=steps[0], horizontal=steps[1])
        around = (kernel[0] // 2, kernel[1] // 2) if padding is None else pair(padding)
        skip_weight, skip_window = None, None
        if isinstance(skip, ConvSkip):
            side = pair(skip.kernel_size)
            count("ConvSkip", in_channels=skip.in_channels, kernel_size=min(side), stride=min(pair(skip.stride)))
            skip_weight = _initial(out_channels, skip.in_channels, *side)
            skip_window = Window(pair(skip.stride), (side[0] // 2, side[1] // 2))
        if pool_sums is not None and not isinstance(pool_sums, MaxPool):
            raise TypeError(f"SpikingConv2d: pool_sums is {pool_sums!r}; give MaxPool(2), say, or None")
        if pool_sums is not None and any(pool_sums.padding):
            raise ValueError(f"SpikingConv2d: pool_sums is {pool_sums!r}; sums are pooled without padding")
        super().__init__(
            _initial(out_channels, in_channels, *kernel),
            window=Window(steps, around),
            bias=bias,
            norm=norm,
            skip=skip,
            skip_weight=skip_weight,
            skip_window=skip_window,
            input_scale=input_scale,
            pool=pool,
            largest=None if pool_sums is None else Largest(pool_sums.kernel, pool_sums.stride),
        )

    def extra_repr(self) -> str:
        """Shape, window and quantization."""
        shape = f"{self.weight.shape[1]}, {self.out_channels}, {tuple(self.weight.shape[2:])}"
        pooled = "" if self.largest is None else f"{self.largest}, "
        return f"{shape}, {self.window}, {pooled}{self.weight_spec.bits}w{self.membrane_spec.bits}u"


class SpikingLinear(SpikingBlock):
    """Linear map, batch norm, spiking neurons: [T, B, features] to spikes [T, B, out_features].

    input_scale is the real value of one unit of the input, as a convolution's.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = False,
        norm: bool = True,
        input_scale: float = 1.0,
    ) -> None:
        count("SpikingLinear", in_features=in_features, out_features=out_features)
        weight = _initial(out_features, in_features)
        super().__init__(weight, window=None, bias=bias, norm=norm, input_scale=input_scale)

    def extra_repr(self) -> str:
        """Shape and quantization."""
        return f"{self.weight.shape[1]}, {self.out_channels}, {self.weight_spec.bits}w{self.membrane_spec.bits}u"


def _initial(*shape: int) -> Tensor:
    weight = torch.empty(shape)
    nn.init.kaiming_normal_(weight, nonlinearity="relu")
    return weight
