"""VGG16: thirteen 3x3 convolutions and one readout, 14,724,042 parameters at 32x32 with ten classes.

    64 64 M  128 128 M  256 256 256 M  512 512 512 M  512 512 512  pool  readout        M: max pooling 2x2

Q-SNN counts its memory at 32x32 and trains it on TinyImageNet (64x64); QP-SNN uses it on CIFAR and there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from bitspike.block import Flatten, GlobalSumPool, ImageInput, MaxPool, Readout, SpikingConv2d, SumPool
from bitspike.model.registry import register_model
from bitspike.model.shape import channel_means, checked_choice, checked_classes, checked_shape

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@register_model("vgg16")
class VGG16(nn.Module):
    """Images [B, C, H, W] (uint8) to logits [T, B, classes].

    head: "local" sums the last map over 2x2, so a 32x32 image gives 512 readout inputs and a 64x64 image
        2,048 (the published networks); "global" sums it whole: 512 at every size.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (3, 32, 32),
        time_steps: int = 4,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        head: Literal["local", "global"] = "local",
    ) -> None:
        super().__init__()
        checked_choice("head", head, ("local", "global"))
        halvings = len(STAGES) if head == "local" else len(STAGES) - 1
        shape = checked_shape(input_shape, halvings=halvings)
        channels, height, width = shape
        self.input = ImageInput(shape, mean=channel_means(mean, channels), std=std, time_steps=time_steps)
        layers: list[nn.Module] = []
        inputs = channels
        for stage, widths in enumerate(STAGES):
            for number, outputs in enumerate(widths):
                scale = 1.0 if layers else 1 / (255 * std)
                pooled = number + 1 == len(widths) and stage + 1 < len(STAGES)
                pool = MaxPool(2) if pooled else None
                layers.append(SpikingConv2d(inputs, outputs, input_scale=scale, pool=pool))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.pool = SumPool(2) if head == "local" else GlobalSumPool()
        self.flatten = Flatten()
        area = (height // 2**halvings) * (width // 2**halvings)
        positions, window = (area, 4) if head == "local" else (1, area)
        self.readout = Readout(inputs * positions, checked_classes(classes), input_scale=1 / window)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] to logits [T, B, classes]."""
        spikes = self.layers(self.input(images))
        logits: Tensor = self.readout(self.flatten(self.pool(spikes)))
        return logits
