"""The cases' networks from a peer's layers: the same convolutions, batch norms, pooling and readout as ours.

layer: a module that has torch.nn's names, which is torch.nn itself for snntorch and `activation_based.layer` for
spikingjelly; neuron: makes a layer of neurons. No stranger's library is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

Neuron = Callable[[], nn.Module]


def convnet(layer: Any, neuron: Neuron) -> nn.Sequential:
    """Two convolutions with max pooling and a readout, for 28x28 images; `small28`."""
    return nn.Sequential(
        layer.Conv2d(1, 32, 3, padding=1, bias=False),
        layer.BatchNorm2d(32),
        neuron(),
        layer.MaxPool2d(2, 2),
        layer.Conv2d(32, 64, 3, padding=1, bias=False),
        layer.BatchNorm2d(64),
        neuron(),
        layer.MaxPool2d(2, 2),
        layer.Flatten(),
        layer.Linear(64 * 7 * 7, 10),
    )


class ResidualBlock(nn.Module):
    """conv, norm, neurons, conv, norm; the input joins before the last neurons."""

    def __init__(self, layer: Any, neuron: Neuron, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.beside = stride, (outputs - inputs) // 2
        self.body = nn.Sequential(
            layer.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            layer.BatchNorm2d(outputs),
            neuron(),
            layer.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            layer.BatchNorm2d(outputs),
        )
        self.fire = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """[..., C, H, W], with a time axis in front or without."""
        side = x
        if self.stride != 1 or self.beside:
            side = F.pad(x[..., :: self.stride, :: self.stride], (0, 0, 0, 0, self.beside, self.beside))
        spikes: Tensor = self.fire(self.body(x) + side)
        return spikes


def resnet20_slim(layer: Any, neuron: Neuron) -> nn.Sequential:
    """ResNet20 of 16, 32 and 64 channels with skips that have no parameters; `resnet20` with first=16."""
    parts: list[nn.Module] = [layer.Conv2d(3, 16, 3, padding=1, bias=False), layer.BatchNorm2d(16), neuron()]
    inputs = 16
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        for number in range(3):
            parts.append(ResidualBlock(layer, neuron, inputs, outputs, stride if number == 0 else 1))
            inputs = outputs
    return nn.Sequential(*parts, layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(inputs, 10))


NETWORKS = {"mnist-convnet": convnet, "resnet20-slim": resnet20_slim}
