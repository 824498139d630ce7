"""ResNet20: the wide residual network of QP-SNN's CIFAR tables, 17,038,026 parameters without its batch norms.

    conv 3x3 -> 64; three residual blocks of 128, three of 256 (stride 2), three of 512 (stride 2);
    sum over the map; one readout. 19 convolutions 3x3; skips have no parameters.

A residual block is ResNet19's: conv -> norm -> LIF -> conv -> norm, to which the block's input is added as membrane
input of the second LIF. Where the shape changes, the input keeps every stride-th pixel and its channels stand in the
middle of the new ones, the others get nothing ("option A").
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bitspike.block import Flatten, GlobalSumPool, ImageInput, PlainSkip, Readout, SpikingConv2d
from bitspike.model.registry import register_model
from bitspike.model.shape import channel_means, checked_classes, checked_shape

BLOCKS = 3
"""Residual blocks of a stage."""
STRIDES = (1, 2, 2)
"""Of the first block of each stage."""


def option_a_skip(inputs: int, outputs: int, stride: int) -> PlainSkip:
    """The skip without parameters: the operand's channels in the middle of the block's, nothing beside them."""
    if inputs == outputs:
        return PlainSkip(stride)
    before = (outputs - inputs) // 2
    after = outputs - inputs - before
    return PlainSkip(stride, (-1,) * before + tuple(range(inputs)) + (-1,) * after)


class ResidualBlock(nn.Module):
    """Two spiking convolutions around a skip that joins before the second one fires."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = SpikingConv2d(inputs, outputs, stride=stride)
        self.second = SpikingConv2d(outputs, outputs, skip=option_a_skip(inputs, outputs, stride))

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, inputs, H, W] to spikes [T, B, outputs, H / stride, W / stride]."""
        joined: Tensor = self.second(self.first(spikes), spikes)
        return joined


@register_model("resnet20")
class ResNet20(nn.Module):
    """Images [B, C, H, W] (uint8) to logits [T, B, classes].

    first, widths: channels of the first convolution and of the three stages; 16 and (16, 32, 64) make the slim
        ResNet20 of the CIFAR literature, with 270,000 parameters.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (3, 32, 32),
        time_steps: int = 2,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        first: int = 64,
        widths: Sequence[int] = (128, 256, 512),
    ) -> None:
        super().__init__()
        shape = checked_shape(input_shape, halvings=2)
        channels, height, width = shape
        if len(widths) != len(STRIDES):
            raise ValueError(f"widths is {list(widths)}; give three numbers of channels, one a stage.")
        if sorted([first, *widths]) != [first, *widths]:
            raise ValueError(
                f"first is {first} and widths is {list(widths)}; a skip can add channels but not drop them, so none "
                "may be smaller than the one before it."
            )
        self.input = ImageInput(shape, mean=channel_means(mean, channels), std=std, time_steps=time_steps)
        self.first = SpikingConv2d(channels, first, input_scale=1 / (255 * std))
        stages = []
        inputs = first
        for outputs, stride in zip(widths, STRIDES, strict=True):
            blocks = [ResidualBlock(inputs, outputs, stride)]
            blocks += [ResidualBlock(outputs, outputs, 1) for _ in range(BLOCKS - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stage1, self.stage2, self.stage3 = stages
        self.pool = GlobalSumPool()
        self.flatten = Flatten()
        pooled = -(-height // 4) * -(-width // 4)  # counts up to this many spikes, where the published net averages
        self.readout = Readout(inputs, checked_classes(classes), input_scale=1 / pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [T, B, classes]."""
        spikes = self.first(self.input(images))
        spikes = self.stage3(self.stage2(self.stage1(spikes)))
        logits: Tensor = self.readout(self.flatten(self.pool(spikes)))
        return logits
