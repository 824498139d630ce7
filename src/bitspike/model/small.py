"""Small networks that a laptop trains in minutes: for digits, 28x28 images, event frames and touch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from bitspike.block import (
    EventInput,
    Flatten,
    GlobalSumPool,
    ImageInput,
    MaxPool,
    Readout,
    SpikingConv2d,
    SpikingLinear,
)
from bitspike.model.registry import register_model
from bitspike.model.shape import channel_means, checked_classes, checked_shape


class _SmallImages(nn.Module):
    """Two spiking convolutions, each followed by max pooling 2x2, and a readout."""

    def __init__(
        self,
        classes: int,
        input_shape: Sequence[int],
        time_steps: int,
        mean: Sequence[float] | None,
        std: float,
        widths: Sequence[int],
    ) -> None:
        super().__init__()
        shape = checked_shape(input_shape, halvings=2)
        channels, height, width = shape
        if len(widths) != 2:
            raise ValueError(f"widths is {list(widths)}; give two numbers of channels, one a convolution.")
        first, second = widths
        self.input = ImageInput(shape, mean=channel_means(mean, channels), std=std, time_steps=time_steps)
        self.conv1 = SpikingConv2d(channels, first, input_scale=1 / (255 * std), pool=MaxPool(2))
        self.conv2 = SpikingConv2d(first, second, pool=MaxPool(2))
        self.flatten = Flatten()
        self.readout = Readout(second * (height // 4) * (width // 4), checked_classes(classes))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] (uint8) to logits [T, B, classes]."""
        spikes = self.conv2(self.conv1(self.input(images)))
        logits: Tensor = self.readout(self.flatten(spikes))
        return logits


@register_model("small8")
class Small8(_SmallImages):
    """Convolutions of 16 and 32 channels for the 8x8 digits that come with scikit-learn."""

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (1, 8, 8),
        time_steps: int = 4,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        widths: Sequence[int] = (16, 32),
    ) -> None:
        super().__init__(classes, input_shape, time_steps, mean, std, widths)


@register_model("small28")
class Small28(_SmallImages):
    """Convolutions of 32 and 64 channels for 28x28 images: MNIST, Fashion-MNIST."""

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (1, 28, 28),
        time_steps: int = 4,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        widths: Sequence[int] = (32, 64),
    ) -> None:
        super().__init__(classes, input_shape, time_steps, mean, std, widths)


@register_model("small_vgg")
class SmallVGG(nn.Module):
    """A VGG that a CPU trains: stages of 3x3 convolutions, max pooling 2x2 behind each, and a readout.

    stages: channels of every convolution, stage by stage. readout: of every pixel of the last maps ("flat"), or of
    their sums over all pixels ("pooled"), which needs a fraction of the weights.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (1, 28, 28),
        time_steps: int = 2,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        stages: Sequence[Sequence[int]] = ((32, 32), (64, 64), (128, 128)),
        readout: str = "flat",
    ) -> None:
        super().__init__()
        if readout not in ("flat", "pooled"):
            raise ValueError(f"readout is {readout!r}; give flat or pooled.")
        if not stages or not all(stages):
            raise ValueError(f"stages is {[list(stage) for stage in stages]}; give one or more, each with channels.")
        shape = checked_shape(input_shape, halvings=len(stages))
        inputs, height, width = shape
        self.input = ImageInput(shape, mean=channel_means(mean, inputs), std=std, time_steps=time_steps)
        layers: list[nn.Module] = []
        for stage in stages:
            for number, outputs in enumerate(stage):
                scale = 1.0 if layers else 1 / (255 * std)
                pool = MaxPool(2) if number + 1 == len(stage) else None
                layers.append(SpikingConv2d(inputs, outputs, input_scale=scale, pool=pool))
                inputs = outputs
            height, width = height // 2, width // 2
        self.layers = nn.Sequential(*layers)
        self.pool = GlobalSumPool() if readout == "pooled" else None
        self.flatten = Flatten()
        features, scale = (inputs, 1 / (height * width)) if self.pool is not None else (inputs * height * width, 1.0)
        self.readout = Readout(features, checked_classes(classes), input_scale=scale)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] (uint8) to logits [T, B, classes]."""
        spikes = self.layers(self.input(images))
        logits: Tensor = self.readout(self.flatten(spikes if self.pool is None else self.pool(spikes)))
        return logits


@register_model("small_events")
class SmallEvents(nn.Module):
    """Three convolutions with max pooling for event frames [T, B, 2, 34, 34] such as N-MNIST's.

    mean, std: accepted because every network is; event counts enter as they are.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (2, 34, 34),
        time_steps: int = 10,
        mean: Sequence[float] | None = None,
        std: float = 1.0,
        bound: int = 255,
        widths: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        shape = checked_shape(input_shape, halvings=len(widths))
        inputs, height, width = shape
        self.input = EventInput(shape, bound=bound, time_steps=time_steps)
        layers: list[nn.Module] = []
        for outputs in widths:
            layers += [SpikingConv2d(inputs, outputs), MaxPool(2)]
            inputs = outputs
            height, width = height // 2, width // 2
        self.layers = nn.Sequential(*layers)
        self.flatten = Flatten()
        self.readout = Readout(inputs * height * width, checked_classes(classes))

    def forward(self, events: Tensor) -> Tensor:
        """Event counts [T, B, C, H, W] (uint8) to logits [T, B, classes]."""
        logits: Tensor = self.readout(self.flatten(self.layers(self.input(events))))
        return logits


@register_model("small_touch")
class SmallTouch(nn.Module):
    """Two spiking linear layers for sensors without a grid: Ev-Objects' 39 taxels, [T, B, 2, 39, 1].

    The taxels' numbers say nothing about their neighbours, so every taxel is connected to every neuron.
    mean, std: accepted because every network is; event counts enter as they are.
    """

    def __init__(
        self,
        *,
        classes: int = 36,
        input_shape: Sequence[int] = (2, 39, 1),
        time_steps: int = 25,
        mean: Sequence[float] | None = None,
        std: float = 1.0,
        bound: int = 255,
        widths: Sequence[int] = (256, 256),
    ) -> None:
        super().__init__()
        shape = checked_shape(input_shape)
        inputs = shape[0] * shape[1] * shape[2]
        self.input = EventInput(shape, bound=bound, time_steps=time_steps)
        self.flatten = Flatten()
        layers: list[nn.Module] = []
        for outputs in widths:
            layers.append(SpikingLinear(inputs, outputs))
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.readout = Readout(inputs, checked_classes(classes))

    def forward(self, events: Tensor) -> Tensor:
        """Event counts [T, B, C, H, W] (uint8) to logits [T, B, classes]."""
        logits: Tensor = self.readout(self.layers(self.flatten(self.input(events))))
        return logits
