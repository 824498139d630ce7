"""Small hand-written networks that the core's tests share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitspike.block import (
    EventInput,
    Flatten,
    ImageInput,
    MaxPool,
    PlainSkip,
    Readout,
    SpikingConv2d,
    quantize_,
)
from bitspike.block.norm import ChannelNorm
from bitspike.spec import QuantSpec


class ImageNet(nn.Module):
    """Image, convolution, residual convolution, pooling, readout."""

    def __init__(self, spec: QuantSpec | str | None = "1w4u", time_steps: int = 3) -> None:
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=time_steps)
        self.first = SpikingConv2d(2, 5, input_scale=self.input.scale)
        self.second = SpikingConv2d(5, 5, skip=PlainSkip())
        self.pool = MaxPool(2)
        self.flatten = Flatten()
        self.readout = Readout(45, 4)
        settle_(self)
        if spec is not None:
            quantize_(self, spec)

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(self.input(images))
        logits: Tensor = self.readout(self.flatten(self.pool(self.second(first, first))))
        return logits


class PooledNet(nn.Module):
    """Image, convolutions whose sums are pooled before the neurons, readout."""

    def __init__(self, spec: QuantSpec | str = "4w8u", time_steps: int = 2) -> None:
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=time_steps)
        self.first = SpikingConv2d(2, 5, input_scale=self.input.scale, pool_sums=MaxPool(2))
        self.second = SpikingConv2d(5, 33, pool_sums=MaxPool((2, 3), 1))
        self.flatten = Flatten()
        self.readout = Readout(66, 4)
        settle_(self)
        quantize_(self, spec)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.flatten(self.second(self.first(self.input(images)))))
        return logits


class EventNet(nn.Module):
    """Events, one convolution, readout."""

    def __init__(self, spec: str = "4w4u", time_steps: int | None = 3, *, bias: bool = True, **options: object) -> None:
        super().__init__()
        self.input = EventInput((2, 4, 4), bound=3, time_steps=time_steps)
        self.conv = SpikingConv2d(2, 4, **options)
        self.flatten = Flatten()
        self.readout = Readout(64, 3, bias=bias)
        settle_(self)
        quantize_(self, spec)

    def forward(self, events: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.flatten(self.conv(self.input(events))))
        return logits


@torch.no_grad()
def settle_(net: nn.Module, seed: int = 0) -> None:
    """Random parameters and statistics with which the layers fire."""
    generator = torch.Generator().manual_seed(seed)

    def normal(tensor: Tensor, mean: float, deviation: float) -> None:
        tensor.copy_(mean + deviation * torch.randn(tensor.shape, generator=generator))

    for module in net.modules():
        if isinstance(module, ChannelNorm):
            normal(module.weight, 0.8, 0.3)
            normal(module.bias, 0.4, 0.3)
            normal(module.running_mean, 0.0, 0.3)
        elif isinstance(module, SpikingConv2d | Readout):
            normal(module.weight, 0.0, module.weight[0].numel() ** -0.5)
            if isinstance(module, Readout) and module.bias is not None:
                normal(module.bias, 0.0, 0.5)


def images(batch: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 2, 6, 6), dtype=torch.uint8, generator=generator)


def events(steps: int = 3, batch: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 4, (steps, batch, 2, 4, 4), dtype=torch.uint8, generator=generator)
