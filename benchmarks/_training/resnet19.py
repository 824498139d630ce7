"""ResNet19 from spikingjelly's layers: the same convolutions, batch norms, skips and readout as ours.

No stranger's library is imported here; `layer` is `activation_based.layer`, `neuron` makes a layer of neurons.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from _training.peer_networks import Neuron

STAGES = ((128, 3, 1), (256, 3, 2), (512, 2, 2))
"""(channels, blocks, stride of the first block)"""


class ResidualBlock(nn.Module):
    """conv, norm, neurons, conv, norm; the input, or its 1x1 convolution with a norm, joins before the last neurons."""

    def __init__(self, layer: Any, neuron: Neuron, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            layer.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            layer.BatchNorm2d(outputs),
            neuron(),
            layer.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            layer.BatchNorm2d(outputs),
        )
        self.side = nn.Sequential()
        if inputs != outputs or stride != 1:
            self.side = nn.Sequential(
                layer.Conv2d(inputs, outputs, 1, stride=stride, bias=False), layer.BatchNorm2d(outputs)
            )
        self.fire = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W]."""
        spikes: Tensor = self.fire(self.body(x) + self.side(x))
        return spikes


def resnet19(layer: Any, neuron: Neuron, classes: int = 10) -> nn.Sequential:
    """Images [T, B, 3, H, W] to logits [T, B, classes]."""
    inputs = STAGES[0][0]
    parts: list[nn.Module] = [layer.Conv2d(3, inputs, 3, padding=1, bias=False), layer.BatchNorm2d(inputs), neuron()]
    for outputs, blocks, stride in STAGES:
        for number in range(blocks):
            parts.append(ResidualBlock(layer, neuron, inputs, outputs, stride if number == 0 else 1))
            inputs = outputs
    return nn.Sequential(*parts, layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(inputs, classes))
