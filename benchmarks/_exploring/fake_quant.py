"""The peer: a candidate evaluated by fake quantization in plain PyTorch, as one writes it without a spiking library.

Weights are rounded to their grid and scaled back, the membrane is rounded after every step, batch norms are estimated
anew on the calibration samples, and all steps of the network run in float. The image goes through the first convolution
at every step, as published code has it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

LEAK, THRESHOLD = 0.5, 1.0


def fake_weight(weight: Tensor, bits: int, *, per_layer: bool = False) -> Tensor:
    """Two's complement by the largest magnitude, or the sign times the mean magnitude."""
    size = weight.abs().flatten(0 if per_layer else 1)
    kept = (-1, *(1,) * (weight.dim() - 1))
    if bits == 1:
        scale = size.mean() if per_layer else size.mean(1).reshape(kept)
        return torch.where(weight >= 0, 1.0, -1.0) * scale
    levels = 2 ** (bits - 1) - 1
    scale = (size.amax() if per_layer else size.amax(1).reshape(kept)).clamp_min(1e-8) / levels
    return torch.clamp(torch.floor(weight / scale + 0.5), -levels, levels) * scale


def fake_membrane(potential: Tensor, bits: int) -> Tensor:
    """What is stored, in steps of threshold / levels."""
    levels = 2 ** (bits - 1) - 1
    step = THRESHOLD / levels
    return torch.clamp(torch.floor(potential / step + 0.5), -levels, levels) * step


class FakeQuantNet(nn.Module):
    """Two spiking convolutions with max pooling and a readout: what `small28` is, with weights as given."""

    def __init__(self, state: dict[str, Tensor], time_steps: int, mean: float, std: float) -> None:
        super().__init__()
        self.time_steps, self.mean, self.std = time_steps, mean, std
        self.convolutions = nn.ModuleList()
        self.norms = nn.ModuleList()
        for name in ("conv1", "conv2"):
            weight = state[f"{name}.weight"]
            convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=False)
            norm = nn.BatchNorm2d(weight.shape[0])
            convolution.weight.data = weight.clone()
            for part in ("weight", "bias", "running_mean", "running_var"):
                getattr(norm, part).data = state[f"{name}.norm.{part}"].clone()
            self.convolutions.append(convolution)
            self.norms.append(norm)
        self.readout = nn.Linear(*reversed(state["readout.weight"].shape))
        self.readout.weight.data = state["readout.weight"].clone()
        self.readout.bias.data = state["readout.bias"].clone()
        self.membrane_bits = 32

    def forward(self, images: Tensor) -> Tensor:
        """Logits of uint8 images, the mean over all steps."""
        image = ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        stored: list[Tensor | float] = [0.0] * len(self.convolutions)
        total: Tensor | float = 0.0
        for _ in range(self.time_steps):
            value = image
            for place, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
                potential = LEAK * stored[place] + norm(convolution(value))
                spikes = (potential >= THRESHOLD).float()
                stored[place] = fake_membrane(potential * (1 - spikes), self.membrane_bits)
                value = F.max_pool2d(spikes, 2)
            total = total + self.readout(value.flatten(1))
        return total / self.time_steps


@torch.no_grad()
def evaluate_fake(
    net: FakeQuantNet,
    weight_bits: int,
    membrane_bits: int,
    ends_bits: int,
    calibration: Iterable[Tensor],
    batches: Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]],
) -> float:
    """Accuracy of one candidate: quantize, estimate the batch norms anew, classify."""
    trial = copy.deepcopy(net).to(memory_format=torch.channels_last)
    first, second = trial.convolutions
    first.weight.data = fake_weight(first.weight, ends_bits)
    second.weight.data = fake_weight(second.weight, weight_bits)
    trial.readout.weight.data = fake_weight(trial.readout.weight, ends_bits, per_layer=True)
    trial.membrane_bits = membrane_bits
    trial.train()
    for number, samples in enumerate(calibration, 1):
        for norm in trial.norms:
            norm.momentum = 1 / number
        trial(samples)
    trial.eval()
    right = seen = 0
    for inputs, labels in batches:
        right += int((trial(torch.from_numpy(np.ascontiguousarray(inputs))).argmax(1).numpy() == labels).sum())
        seen += len(labels)
    return right / seen
