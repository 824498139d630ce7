"""The same networks in plain PyTorch fp32, as one writes them without a spiking library.

All T steps go through a convolution and its batch norm as one batch; the neurons loop over T in Python. A static
image is repeated T times first (`repeat_first=True`, as published code does), or convolved once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lif(current: Tensor, leak: float = 0.5, threshold: float = 1.0) -> Tensor:
    """Leaky integrate and fire with hard reset: currents [T, B, ...] to spikes [T, B, ...]."""
    potential = torch.zeros_like(current[0])
    spikes = torch.empty_like(current)
    for t, now in enumerate(current):
        potential = torch.add(now, potential, alpha=leak)
        torch.ge(potential, threshold, out=spikes[t])
        if t + 1 < len(current):
            potential = potential * (1 - spikes[t])
    return spikes


class SpikingConv(nn.Module):
    """Convolution 3x3, batch norm, neurons; what a skip brings joins before the neurons."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, joining: Tensor | None = None) -> Tensor:
        steps, batch = x.shape[:2]
        current = self.norm(self.conv(x.flatten(0, 1)))
        if joining is not None:
            current = current + joining.flatten(0, 1)
        return lif(current.unflatten(0, (steps, batch)))

    def static(self, image: Tensor, steps: int) -> Tensor:
        """The first layer on an image that stays: one convolution for all steps."""
        current = self.norm(self.conv(image))
        return lif(current.expand(steps, *current.shape))


class ResidualBlock(nn.Module):
    """Two spiking convolutions around a skip: identity, or a 1x1 convolution with its own batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = SpikingConv(inputs, outputs, stride)
        self.second = SpikingConv(outputs, outputs)
        self.side = None
        if inputs != outputs or stride != 1:
            self.side = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        side = x if self.side is None else self.side(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        spikes: Tensor = self.second(self.first(x), side)
        return spikes


class ImageNetwork(nn.Module):
    """What reads an image for T steps."""

    first: SpikingConv

    def __init__(self, time_steps: int, repeat_first: bool) -> None:
        super().__init__()
        self.time_steps, self.repeat_first = time_steps, repeat_first

    def enter(self, image: Tensor) -> Tensor:
        """The first layer's spikes."""
        if self.repeat_first:
            spikes: Tensor = self.first(image.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1))
            return spikes
        return self.first.static(image, self.time_steps)


class ResNet19(ImageNetwork):
    """ResNet19: images [B, 3, 32, 32] to logits [B, 10]."""

    def __init__(self, time_steps: int = 2, repeat_first: bool = True) -> None:
        super().__init__(time_steps, repeat_first)
        self.first = SpikingConv(3, 128)
        blocks, inputs = [], 128
        for outputs, count, stride in ((128, 3, 1), (256, 3, 2), (512, 2, 2)):
            for number in range(count):
                blocks.append(ResidualBlock(inputs, outputs, stride if number == 0 else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.readout = nn.Linear(inputs, 10)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.blocks(self.enter(image)).mean((-2, -1)))
        return logits.mean(0)


class Small28(ImageNetwork):
    """Two convolutions with max pooling: images [B, 1, 28, 28] to logits [B, 10]."""

    def __init__(self, time_steps: int = 4, repeat_first: bool = True) -> None:
        super().__init__(time_steps, repeat_first)
        self.first = SpikingConv(1, 32)
        self.second = SpikingConv(32, 64)
        self.readout = nn.Linear(64 * 7 * 7, 10)

    def forward(self, image: Tensor) -> Tensor:
        spikes = _pooled(F.max_pool2d, self.enter(image))
        spikes = _pooled(F.max_pool2d, self.second(spikes))
        logits: Tensor = self.readout(spikes.flatten(2))
        return logits.mean(0)


class VGGSNN(nn.Module):
    """Eight convolutions with average pooling: event frames [T, B, 2, 48, 48] to logits [B, 10]."""

    def __init__(self, time_steps: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 2
        for widths in ((64, 128), (256, 256), (512, 512), (512, 512)):
            for outputs in widths:
                layers.append(SpikingConv(inputs, outputs))
                inputs = outputs
            layers.append(AveragePool())
        self.layers = nn.Sequential(*layers)
        self.readout = nn.Linear(512 * 3 * 3, 10)

    def forward(self, events: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.layers(events).flatten(2))
        return logits.mean(0)


class AveragePool(nn.Module):
    """Average pooling 2x2 of every step."""

    def forward(self, x: Tensor) -> Tensor:
        return _pooled(F.avg_pool2d, x)


def _pooled(pool: Callable[[Tensor, int], Tensor], x: Tensor) -> Tensor:
    """2x2 pooling of every step."""
    result = pool(x.flatten(0, 1), 2)
    steps: Tensor = result.unflatten(0, x.shape[:2])
    return steps


NETWORKS = {"resnet19": ResNet19, "mnist": Small28, "vggsnn": VGGSNN}


@torch.no_grad()
def settle_(net: nn.Module, seed: int = 0) -> None:
    """Random statistics under which the layers fire and nothing is subnormal; speed does not depend on more."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(1 + 0.2 * torch.randn(module.weight.shape, generator=generator))
            module.bias.copy_(0.2 * torch.randn(module.bias.shape, generator=generator))
            nn.init.constant_(module.running_var, 0.2)  # type: ignore[arg-type]
