"""ResNet19: the residual network of Q-SNN's CIFAR tables, 12,569,226 parameters with ten classes.

    conv 3x3 -> 128; three residual blocks of 128, three of 256 (stride 2), two of 512 (stride 2);
    sum over the map; one readout. Two 3x3 convolutions per block, 17 in all, two 1x1 skips.

A residual block is conv -> norm -> LIF -> conv -> norm, to which the block's input (or its 1x1 convolution
where the shape changes) is added as membrane input of the second LIF: what leaves a block are spikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from bitspike.block import ConvSkip, Flatten, GlobalSumPool, ImageInput, PlainSkip, Readout, SpikingConv2d
from bitspike.model.registry import register_model
from bitspike.model.shape import channel_means, checked_choice, checked_classes, checked_shape

SkipNorm = Literal["own", "shared"]
STAGES = ((128, 3, 1), (256, 3, 2), (512, 2, 2))
"""(channels, blocks, stride of the first block)"""


class ResidualBlock(nn.Module):
    """Two spiking convolutions around a skip that joins before the second one fires."""

    def __init__(self, inputs: int, outputs: int, stride: int, skip_norm: SkipNorm) -> None:
        super().__init__()
        same_shape = inputs == outputs and stride == 1
        skip = PlainSkip() if same_shape else ConvSkip(inputs, stride=stride, norm=skip_norm)
        self.first = SpikingConv2d(inputs, outputs, stride=stride)
        self.second = SpikingConv2d(outputs, outputs, skip=skip)

    def forward(self, spikes: Tensor) -> Tensor:
        """Spikes [T, B, inputs, H, W] to spikes [T, B, outputs, H / stride, W / stride]."""
        joined: Tensor = self.second(self.first(spikes), spikes)
        return joined


@register_model("resnet19")
class ResNet19(nn.Module):
    """Images [B, C, H, W] (uint8) to logits [T, B, classes].

    skip_norm: "own" is the published form, a batch norm for each 1x1 skip; "shared" is one batch norm over
        both convolutions (1,536 parameters fewer), which needs no power-of-two ratio between their gains.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (3, 32, 32),
        time_steps: int = 2,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        skip_norm: SkipNorm = "own",
    ) -> None:
        super().__init__()
        checked_choice("skip_norm", skip_norm, ("own", "shared"))
        shape = checked_shape(input_shape, halvings=2)
        channels, height, width = shape
        self.input = ImageInput(shape, mean=channel_means(mean, channels), std=std, time_steps=time_steps)
        self.first = SpikingConv2d(channels, STAGES[0][0], input_scale=1 / (255 * std))
        stages = []
        inputs = STAGES[0][0]
        for outputs, blocks, stride in STAGES:
            strides = [stride] + [1] * (blocks - 1)
            stages.append(
                nn.Sequential(
                    *(
                        ResidualBlock(inputs if number == 0 else outputs, outputs, block_stride, skip_norm)
                        for number, block_stride in enumerate(strides)
                    )
                )
            )
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
