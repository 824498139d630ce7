"""ResNet18 for ImageNet: 11,689,512 parameters at 224x224 with 1,000 classes, 11,679,912 of them no batch norm's.

    conv 7x7 / 2 -> 64, max pooling 3x3 / 2; two residual blocks of 64, two of 128, 256 and 512 (stride 2 each);
    sum over the map; one readout. 17 convolutions, three 1x1 skips with batch norm.

The counterpart of QP-SNN's SEW-ResNet18, with as many parameters. The departure: a residual block is ResNet19's, so its
input joins as membrane input of the second LIF and spikes leave it, where SEW adds spikes to spikes behind the second
LIF and passes counts on, for which the integer graph has no node.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bitspike.block import Flatten, GlobalSumPool, ImageInput, MaxPool, Readout, SpikingConv2d
from bitspike.model.registry import register_model
from bitspike.model.resnet19 import ResidualBlock, SkipNorm
from bitspike.model.shape import channel_means, checked_choice, checked_classes, checked_shape

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
"""(channels, stride of the first of two blocks)"""
HALVINGS = 5


@register_model("resnet18")
class ResNet18(nn.Module):
    """Images [B, C, H, W] (uint8) to logits [T, B, classes].

    skip_norm: "own" is a batch norm for each 1x1 skip, as published; "shared" is one over both convolutions.
    """

    def __init__(
        self,
        *,
        classes: int = 1000,
        input_shape: Sequence[int] = (3, 224, 224),
        time_steps: int = 4,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        skip_norm: SkipNorm = "own",
    ) -> None:
        super().__init__()
        checked_choice("skip_norm", skip_norm, ("own", "shared"))
        shape = checked_shape(input_shape, halvings=HALVINGS)
        channels, height, width = shape
        self.input = ImageInput(shape, mean=channel_means(mean, channels), std=std, time_steps=time_steps)
        inputs = STAGES[0][0]
        self.first = SpikingConv2d(channels, inputs, 7, stride=2, input_scale=1 / (255 * std), pool=MaxPool(3, 2, 1))
        sizes = [-(-side // 4) for side in (height, width)]
        stages = []
        for outputs, stride in STAGES:
            first = ResidualBlock(inputs, outputs, stride, skip_norm)
            stages.append(nn.Sequential(first, ResidualBlock(outputs, outputs, 1, skip_norm)))
            inputs = outputs
            sizes = [-(-size // stride) for size in sizes]
        self.stage1, self.stage2, self.stage3, self.stage4 = stages
        self.pool = GlobalSumPool()
        self.flatten = Flatten()
        pooled = sizes[0] * sizes[1]  # counts up to this many spikes, where the published net averages
        self.readout = Readout(inputs, checked_classes(classes), input_scale=1 / pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [T, B, classes]."""
        spikes = self.first(self.input(images))
        spikes = self.stage4(self.stage3(self.stage2(self.stage1(spikes))))
        logits: Tensor = self.readout(self.flatten(self.pool(spikes)))
        return logits
