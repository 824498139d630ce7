"""Blocks without weights: where samples enter, pooling, flattening."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bitspike.block.base import Block, count, pair
from bitspike.integer import ops


class ImageInput(Block):
    """uint8 images [B, C, H, W] to pixels minus their zero point, presented for T steps: [T, B, C, H, W].

    zero_point = round(255 mean) per colour; scale = 1 / (255 std), one for all colours, belongs into the first
    layer's input_scale. The result is one image seen T times, so the first layer sums it once.

    mean: one number, or one a colour.
    """

    def __init__(self, shape: Sequence[int], *, mean: float | Sequence[float], std: float, time_steps: int) -> None:
        super().__init__()
        means = np.asarray(mean, dtype=np.float64)
        mean = tuple(np.broadcast_to(means, (shape[0],)).tolist() if means.ndim == 0 else means.tolist())
        if len(shape) != 3 or len(mean) != shape[0]:
            raise ValueError(f"ImageInput: shape is {shape}, mean is {mean}; needed: (C, H, W) and one mean per colour")
        if not all(0 <= value <= 1 for value in mean):
            raise ValueError(f"ImageInput: mean is {mean}; it is that of pixels scaled to 0 .. 1")
        if not 0 < std < float("inf") or time_steps < 1:
            raise ValueError(f"ImageInput: std is {std}, time_steps is {time_steps}; both must be positive")
        self.shape = tuple(int(size) for size in shape)
        self.zero_point = tuple(int(255 * value + 0.5) for value in mean)
        self.scale = 1 / (255 * std)
        self.time_steps = time_steps
        zero = torch.tensor(self.zero_point, dtype=torch.float32).reshape(-1, 1, 1)
        self.register_buffer("zero", zero, persistent=False)

    zero: Tensor

    def compute(self, *operands: Tensor) -> Tensor:
        """[T, B, C, H, W] of [B, C, H, W], without a copy per step."""
        (images,) = operands
        _check_samples(self, images, 4, self.shape)
        centred = (images.float() - self.zero).contiguous(memory_format=torch.channels_last)
        return centred.expand(self.time_steps, *centred.shape)


class EventInput(Block):
    """uint8 event counts [T, B, C, H, W], each at most `bound`, to the same numbers as float."""

    def __init__(self, shape: Sequence[int], *, bound: int, time_steps: int | None = None) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"EventInput: shape is {shape}; needed: (C, H, W)")
        if not 1 <= bound <= 255:
            raise ValueError(f"EventInput: bound is {bound}; allowed: 1 to 255")
        if time_steps is not None and time_steps < 1:
            raise ValueError(f"EventInput: time_steps is {time_steps}; it must be positive, or None for any number")
        self.shape = tuple(int(size) for size in shape)
        self.bound = bound
        self.time_steps = time_steps

    def compute(self, *operands: Tensor) -> Tensor:
        """The counts, unchanged."""
        (counts,) = operands
        _check_samples(self, counts, 5, self.shape)
        if self.time_steps is not None and counts.shape[0] != self.time_steps:
            raise ValueError(f"{self.label} got {counts.shape[0]} time steps; it takes {self.time_steps}")
        if counts.shape[0] == 0:
            raise ValueError(f"{self.label} got no time steps; it takes at least one")
        if self.bound < 255 and counts.numel() and int(counts.max()) > self.bound:
            raise ValueError(
                f"{self.label} got counts up to {int(counts.max())}; it takes at most {self.bound} (clip when binning)"
            )
        frames = counts.flatten(0, 1).float().contiguous(memory_format=torch.channels_last)
        return frames.reshape(*counts.shape[:2], *frames.shape[1:])


def _check_samples(block: Block, samples: Tensor, axes: int, shape: tuple[int, ...]) -> None:
    layout = "[B, C, H, W]" if axes == 4 else "[T, B, C, H, W]"
    if samples.dtype != torch.uint8:
        raise TypeError(f"{block.label} got {samples.dtype}; it takes uint8 {layout}")
    if samples.dim() != axes or tuple(samples.shape[-3:]) != shape:
        raise ValueError(
            f"{block.label} got a tensor of shape {list(samples.shape)}; "
            f"it takes {layout} with [C, H, W] = {list(shape)}"
        )


class _WindowPool(Block):
    """What pooling over windows shares.

    padding: how far windows reach beyond the map, at most half of them; what is there does not count.
    """

    kind = ""

    def __init__(
        self,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        super().__init__()
        self.kernel = pair(kernel)
        self.stride = self.kernel if stride is None else pair(stride)
        self.padding = pair(padding)
        count(type(self).__name__, kernel=min(self.kernel), stride=min(self.stride))
        if any(not 0 <= self.padding[i] <= self.kernel[i] // 2 for i in range(2)):
            raise ValueError(
                f"{type(self).__name__}.padding is {padding}; allowed: 0 to half the kernel, {self.kernel}"
            )

    @property
    def halves(self) -> bool:
        """Whether windows are of 2x2, side by side."""
        return self.kernel == self.stride == (2, 2) and self.padding == (0, 0)

    def refuse_small(self, sizes: Sequence[int], name: str) -> None:
        """Raise unless at least one window fits into a map of height and width."""
        if any(sizes[i] + 2 * self.padding[i] < self.kernel[i] for i in range(2)):
            raise ValueError(
                f"{name}: the windows of {type(self).__name__} {self.kernel} do not fit into {tuple(sizes)}"
            )

    def extra_repr(self) -> str:
        """Kernel, stride, and padding where there is some."""
        return f"{self.kernel}, stride {self.stride}" + (f", padding {self.padding}" if any(self.padding) else "")


class MaxPool(_WindowPool):
    """The OR of the spikes in every window."""

    kind = "max"

    def compute(self, *operands: Tensor) -> Tensor:
        """Windows' maxima of [T, B, C, H, W]."""
        (value,) = operands
        self.refuse_small(value.shape[3:], self.label)
        return ops.per_sample(lambda part: F.max_pool2d(part, self.kernel, self.stride, self.padding), value)


class SumPool(_WindowPool):
    """The number of spikes in every window: average pooling without its division, in training too."""

    kind = "sum"

    def compute(self, *operands: Tensor) -> Tensor:
        """Windows' sums of [T, B, C, H, W]."""
        (value,) = operands
        self.refuse_small(value.shape[3:], self.label)
        return ops.per_sample(
            lambda part: F.avg_pool2d(part, self.kernel, self.stride, self.padding, divisor_override=1), value
        )


class GlobalSumPool(Block):
    """The number of spikes in every channel's whole map: [T, B, C, H, W] to [T, B, C, 1, 1]."""

    kind = "sum"
    kernel = None
    stride = None
    padding = (0, 0)

    def compute(self, *operands: Tensor) -> Tensor:
        """Maps' sums of [T, B, C, H, W]."""
        (value,) = operands
        return value.sum((-2, -1), keepdim=True)


class Flatten(Block):
    """[T, B, C, H, W] to [T, B, C * H * W], channel after channel."""

    def compute(self, *operands: Tensor) -> Tensor:
        """The same numbers, one row per sample."""
        (value,) = operands
        return value.flatten(2)
