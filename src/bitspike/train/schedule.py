"""The learning rate at every step, and the random generators at every position: pure functions.

Nothing here has state, so nothing here has to be saved: a resumed run computes the same values.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from bitspike.train.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of global step `step`, counted from 0.

    Warm-up: lr * (step + 1) / warm. After it, cosine: lr * (1 + cos(pi * p)) / 2 with p going from 0 to 1.
    """
    warm = round(config.warmup_epochs * steps_per_epoch)
    if step < warm:
        return config.lr * (step + 1) / warm
    if config.schedule == "constant":
        return config.lr
    total = config.epochs * steps_per_epoch
    progress = (step - warm) / max(1, total - warm)
    return config.lr * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def position_seed(seed: int, *position: int | str) -> int:
    """A 63-bit seed from the run's seed and a position; neighbouring positions give unrelated streams."""
    text = ":".join(str(part) for part in (seed, *position))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def position_generator(device: torch.device, seed: int, *position: int | str) -> torch.Generator:
    """A generator that depends on the seed and the position only."""
    generator = torch.Generator(device=device)
    generator.manual_seed(position_seed(seed, *position))
    return generator


def epoch_order(seed: int, epoch: int, samples: int) -> Tensor:
    """The order in which an epoch visits the samples; drawn on the CPU, so it is the same on every device."""
    return torch.randperm(samples, generator=position_generator(torch.device("cpu"), seed, "order", epoch))
