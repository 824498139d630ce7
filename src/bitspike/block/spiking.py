"""The spiking layer: weighted sum, batch norm, optional skip, membrane, spikes.

This module holds what a layer is and what its channels come to. Its forms stand on it: `block.training` (float),
`block.real` (exact float64), `block.to_integers` (plain integers, run by `integer.ops`); `block.layers` chooses among
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bitspike.block.base import Block, Form
from bitspike.block.fold import Channels
from bitspike.block.norm import ChannelNorm
from bitspike.integer import ops
from bitspike.quant import QuantizedWeight, membrane_exponent, quantize_weight, round_half_up
from bitspike.spec import MembraneSpec, WeightSpec

RATIO_LIMIT = 6
"""The gains of a sum and of its convolved skip are held within 2^-6 .. 2^6 of each other."""


@dataclass(frozen=True)
class PlainSkip:
    """The skip's spikes join the membrane as they are: channel_map[c] of them (-1: none), every stride-th pixel."""

    stride: int = 1
    channel_map: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise ValueError(f"PlainSkip.stride is {self.stride}; allowed: 1 and above")
        if self.channel_map is not None:
            object.__setattr__(self, "channel_map", tuple(self.channel_map))
        if self.channel_map is not None and any(source < -1 for source in self.channel_map):
            raise ValueError(f"PlainSkip.channel_map is {self.channel_map}; allowed: channel numbers, or -1 for none")


@dataclass(frozen=True)
class ConvSkip:
    """A second convolution joins.

    norm "shared": one batch norm over both sums, which then share their weight scale. norm "own": a batch norm of
    its own, as published; the ratio of the two gains is then held to a power of two.
    """

    in_channels: int
    stride: int = 1
    kernel_size: int = 1
    norm: str = "shared"

    def __post_init__(self) -> None:
        if self.norm not in ("shared", "own"):
            raise ValueError(f"ConvSkip.norm is {self.norm!r}; allowed: shared, own")


Skip = PlainSkip | ConvSkip


class Window(NamedTuple):
    """How a convolution moves over its input."""

    stride: tuple[int, int]
    padding: tuple[int, int]

    def sizes(self, sizes: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Height and width of the result."""
        return tuple((sizes[i] + 2 * self.padding[i] - kernel[i]) // self.stride[i] + 1 for i in range(2))


class Largest(NamedTuple):
    """Windows over a map of sums, without padding; the largest sum of each goes on to the neurons."""

    kernel: tuple[int, int]
    stride: tuple[int, int]

    def sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Height and width of the result."""
        return tuple((sizes[i] - self.kernel[i]) // self.stride[i] + 1 for i in range(2))

    def of(self, sums: Tensor) -> Tensor:
        """The largest of [T, B, C, H, W]."""
        return ops.per_sample(lambda part: F.max_pool2d(part, self.kernel, self.stride), sums)


class LayerWeights(NamedTuple):
    """The weight of a layer and of its convolved skip, on their grids."""

    main: QuantizedWeight
    skip: QuantizedWeight | None

    def with_constant_scale(self) -> LayerWeights:
        """The same, with no gradient into learned scales."""
        skip = None if self.skip is None else self.skip._replace(scale=self.skip.scale.detach())
        return LayerWeights(self.main._replace(scale=self.main.scale.detach()), skip)


class SpikingLayer(Block):
    """What a spiking layer is: weights, batch norm, skip, quantization; it gives spikes [T, B, C, ...].

    weight [C, ...]; window None for a linear layer; largest: max pooling between the sums and the neurons. progress
    (0 to 1, of training) sharpens annealed gradients; stream is the layer's number in the random generator's counter.
    weight_gamma and skip_weight_gamma are the parameters of learned scales, which `quantize_` makes.
    """

    def __init__(
        self,
        weight: Tensor,
        *,
        window: Window | None,
        bias: bool,
        norm: bool,
        skip: Skip | None = None,
        skip_weight: Tensor | None = None,
        skip_window: Window | None = None,
        input_scale: float = 1.0,
        largest: Largest | None = None,
    ) -> None:
        super().__init__()
        self.out_channels = weight.shape[0]
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(self.out_channels)) if bias else None
        self.norm = ChannelNorm(self.out_channels) if norm else None
        self.skip = skip
        self.skip_weight = None if skip_weight is None else nn.Parameter(skip_weight)
        own = isinstance(skip, ConvSkip) and skip.norm == "own"
        if own and not norm:
            raise ValueError('ConvSkip(norm="own") needs a block with norm=True')
        if isinstance(skip, PlainSkip) and skip.channel_map is not None and len(skip.channel_map) != self.out_channels:
            raise ValueError(
                f"PlainSkip.channel_map names {len(skip.channel_map)} channels; the block has {self.out_channels}"
            )
        if skip is not None and largest is not None:
            raise ValueError("a block that pools its sums takes no skip; pool the spikes, pool=MaxPool(2), beside one")
        if not 0 < input_scale < float("inf"):
            raise ValueError(f"input_scale is {input_scale}; it must be a positive number")
        if isinstance(skip, ConvSkip) and not own and input_scale != 1.0:
            raise ValueError(
                'ConvSkip(norm="shared") adds both sums as they are, so input_scale must be 1; use norm="own"'
            )
        self.skip_norm = ChannelNorm(self.out_channels) if own else None
        self.window, self.skip_window = window, skip_window
        self.largest = largest
        self.input_scale = input_scale
        self.weight_spec = WeightSpec()
        self.weight_gamma: nn.Parameter | None = None
        self.skip_weight_gamma: nn.Parameter | None = None
        self.membrane_spec = MembraneSpec()
        self.progress = 0.0
        self.stream = 0

    @property
    def has_integer_form(self) -> bool:
        """Whether weights and membrane are on grids that integers carry."""
        membrane = self.membrane_spec
        return not (self.weight_spec.is_float or membrane.is_float or membrane.form == "dynamic")

    def operands(self, operands: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """Input and skip of a call, their shapes checked."""
        expected = 1 if self.skip is None else 2
        if len(operands) != expected:
            wanted = "one operand, its input" if expected == 1 else "two operands, its input and its skip"
            raise TypeError(f"{self.label} takes {wanted}; it got {len(operands)}")
        self.check(operands[0])
        if expected == 1:
            return operands[0], None
        self.check_skip(operands[0], operands[1])
        return operands[0], operands[1]

    def check(self, value: Tensor) -> None:
        """Refuse an input of the wrong shape, with a sentence."""
        axes, layout = (3, "[T, B, features]") if self.window is None else (5, "[T, B, C, H, W]")
        if value.dim() != axes or value.shape[2] != self.weight.shape[1]:
            raise ValueError(
                f"{self.label} got a tensor of shape {list(value.shape)}; "
                f"it takes {layout} with {self.weight.shape[1]} at the third place"
            )
        if self.window is None or self.largest is None:
            return
        sizes, kernel = self.window.sizes(value.shape[3:], self.weight.shape[2:]), self.largest.kernel
        if sizes[0] < kernel[0] or sizes[1] < kernel[1]:
            raise ValueError(f"{self.label} gives sums of {list(sizes)}; its windows of {list(kernel)} do not fit in")

    def check_skip(self, value: Tensor, skip: Tensor) -> None:
        """Refuse a skip operand that does not meet the layer's result position by position, with a sentence."""
        channels = self._skip_channels(skip)
        if skip.dim() != value.dim() or skip.shape[:2] != value.shape[:2] or channels is not None:
            wanted = f"[T, B] = {list(value.shape[:2])}" + ("" if channels is None else f" and {channels} channels")
            raise ValueError(f"{self.label} got a skip of shape {list(skip.shape)}; it takes one with {wanted}")
        if self.window is None:
            return
        ours = self.window.sizes(value.shape[3:], self.weight.shape[2:])
        if isinstance(self.skip, PlainSkip):
            theirs = tuple(-(-size // self.skip.stride) for size in skip.shape[3:])
        elif self.skip_window is not None and self.skip_weight is not None:
            theirs = self.skip_window.sizes(skip.shape[3:], self.skip_weight.shape[2:])
        else:
            return
        if ours != theirs:
            raise ValueError(
                f"{self.label} gives maps of {list(ours)}, its skip maps of {list(theirs)}; they must agree"
            )

    def _skip_channels(self, skip: Tensor) -> str | None:
        """How many channels the skip operand should have, where it has another number."""
        given = skip.shape[2] if skip.dim() > 2 else 0
        if isinstance(self.skip, ConvSkip):
            return None if given == self.skip.in_channels else str(self.skip.in_channels)
        if isinstance(self.skip, PlainSkip) and self.skip.channel_map is not None:
            needed = max(self.skip.channel_map, default=-1) + 1
            return None if given >= needed else f"at least {needed}"
        return None if given == self.out_channels else str(self.out_channels)

    @property
    def grid_spec(self) -> WeightSpec:
        """The description that the weights are quantized by."""
        return self.weight_spec

    def scaled_weights(self) -> dict[str, Tensor]:
        """The weights that have a scale of their own, under the name that its parameter has where it is learned."""
        if self.skip_weight is None:
            return {"weight_gamma": self.weight}
        if self.skip_norm is not None:
            return {"weight_gamma": self.weight, "skip_weight_gamma": self.skip_weight}
        # One batch norm over both sums, so one row of weights per channel and one scale.
        return {"weight_gamma": torch.cat([self.weight.flatten(1), self.skip_weight.flatten(1)], 1)}

    @property
    def scale_needs_gradient(self) -> bool:
        """Whether a learned scale changes the result: not behind a batch norm that takes the batch's statistics."""
        cancelled = self.norm is not None and self.form is Form.TRAINING
        return self.weight_spec.is_learned and torch.is_grad_enabled() and not cancelled

    def quantized(self) -> LayerWeights:
        """Codes and scales of the weight and of the convolved skip's, at this moment."""
        spec, weights = self.weight_spec, self.scaled_weights()
        codes, scale = found = quantize_weight(
            weights["weight_gamma"], spec, self.progress, self.weight_gamma, fresh=self.draws_afresh
        )
        if self.skip_weight is None:
            return LayerWeights(found, None)
        if self.skip_norm is not None:
            side = quantize_weight(
                weights["skip_weight_gamma"], spec, self.progress, self.skip_weight_gamma, fresh=self.draws_afresh
            )
            return LayerWeights(found, side)
        main, skip = codes.split([self.weight[0].numel(), self.skip_weight[0].numel()], 1)
        return LayerWeights(
            QuantizedWeight(main.reshape(self.weight.shape), scale),
            QuantizedWeight(skip.reshape(self.skip_weight.shape), scale),
        )

    def channels(self, weights: LayerWeights) -> Channels:
        """Gain, offset, exponent and skip ratio of every channel from the running statistics, in float64.

        Training takes the membrane's step from here, the real and the integer form everything.
        """
        scale = weights.main.scale.double() * self.input_scale
        bias = torch.zeros_like(scale) if self.bias is None else self.bias.double()
        if self.norm is None:
            gain, offset = scale, bias
        else:
            unit = self.norm.gamma.double() / torch.sqrt(self.norm.running_var.double() + self.norm.eps)
            gain = scale * unit.abs()
            offset = self.norm.bias.double() + (bias - self.norm.running_mean.double()) * unit
        ratio = None
        if self.skip_norm is not None and weights.skip is not None:
            side, side_scale = self.skip_norm, weights.skip.scale.double()
            side_gain = side_scale * side.gamma.double().abs() / torch.sqrt(side.running_var.double() + side.eps)
            exact = torch.log2(side_gain.detach() / gain.detach())
            ratio = round_half_up(exact).clamp(-RATIO_LIMIT, RATIO_LIMIT)
            held = side.gamma.double().sign() * gain * torch.exp2(ratio) / side_scale
            offset = offset + side.bias.double() - side.running_mean.double() * held
        exponent = torch.zeros_like(gain)
        if not self.membrane_spec.is_float:
            exponent = membrane_exponent(gain, self.membrane_spec)
        return Channels(gain, offset, exponent, ratio)

    def signed(self, weights: LayerWeights) -> tuple[Tensor, Tensor | None]:
        """Codes of weight and skip with the sign of gamma in them, so that every gain is positive."""
        main = weights.main.codes
        if self.norm is not None:
            main = per_row(main, self.norm.gamma.detach().sign())
        if weights.skip is None:
            return main, None
        norm = self.norm if self.skip_norm is None else self.skip_norm
        side = weights.skip.codes
        return main, side if norm is None else per_row(side, norm.gamma.detach().sign())

    def spread(self, per_channel: Tensor) -> Tensor:
        """[C] shaped to meet values [..., C, H, W] or [..., C]."""
        return per_channel.reshape(-1, *(1,) * (self.weight.dim() - 2))


def per_row(weight: Tensor, factor: Tensor) -> Tensor:
    """weight [C, ...] times factor [C]."""
    return weight * factor.to(weight.dtype).reshape(-1, *(1,) * (weight.dim() - 1))


def weighted(value: Tensor, weight: Tensor, window: Window | None) -> Tensor:
    """The weighted sum of [T, B, ...] in float, once where the value is static."""

    def apply(part: Tensor) -> Tensor:
        if window is None:
            return F.linear(part, weight)
        seen, moved = looked_at(part, weight, window)
        return F.conv2d(seen, weight, None, moved.stride, moved.padding)

    return ops.per_sample(apply, value)


def looked_at(value: Tensor, weight: Tensor, window: Window) -> tuple[Tensor, Window]:
    """The part of [N, C, H, W] that a convolution looks at, and how it moves over it.

    A kernel of one pixel looks at no others than it lands on. With the stride left to torch 2.13, the gradient of such
    weights, 3 or 5 channels in channels_last, is written beyond its memory.
    """
    if tuple(weight.shape[2:]) != (1, 1) or window.padding != (0, 0) or window.stride == (1, 1):
        return value, window
    down, across = window.stride
    return value[..., ::down, ::across], Window((1, 1), (0, 0))
