"""A tiny study that the tests share: two-class pictures, a network of three layers, tables to compare."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bitspike.block import Flatten, ImageInput, Readout, SpikingConv2d
from bitspike.data import Dataset, dataset_from_arrays
from bitspike.explore import Exploration, explore
from networks import settle_

SPACE = {"weight.bits": [1, 2, 4], "membrane.bits": [2, 4], "ends.bits": [2, 4]}
LARGE = SPACE | {"membrane.range": ["threshold", "max"], "weight.rounding": ["nearest", "stochastic"]}
MEASURED = ("seconds", "latency")


class TinyNet(nn.Module):
    """Image, convolution, readout."""

    def __init__(self) -> None:
        super().__init__()
        self.input = ImageInput((1, 6, 6), mean=(0.4,), std=0.25, time_steps=2)
        self.first = SpikingConv2d(1, 4, input_scale=self.input.scale)
        self.second = SpikingConv2d(4, 4)
        self.flatten = Flatten()
        self.readout = Readout(144, 2)
        settle_(self)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.readout(self.flatten(self.second(self.first(self.input(images)))))
        return logits


def bars(count: int = 96, seed: int = 0) -> Dataset:
    """Pictures with or without a bright bar."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pictures = generator.integers(0, 160, (count, 6, 6), dtype=np.uint8)
    pictures[labels == 1, :, 2:4] += 90
    return dataset_from_arrays(pictures, labels, name="bars")


def small(**changes: Any) -> dict[str, Any]:
    """Arguments of `explore`."""
    given: dict[str, Any] = {
        "net": TinyNet(),
        "data": bars(),
        "space": SPACE,
        "validation": 0.25,
        "calibration": (2, 16),
        "generation": 6,
        "trials": 16,
    }
    return given | changes


def table(found: Exploration) -> list[dict[str, Any]]:
    """All rows without what was measured by a clock."""
    return [{name: value for name, value in row.to_dict().items() if name not in MEASURED} for row in found.rows]


def run(**changes: Any) -> list[dict[str, Any]]:
    """Explore, and return the table."""
    return table(explore(**small(**changes)))


def forked(function: Callable[..., None], *arguments: Any) -> Any:
    """A process of its own that is there at once, since it is forked from one that has loaded everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bitspike.explore", "optuna", "torch", "sqlalchemy", "alembic"])
    process = context.Process(target=function, args=arguments)
    process.start()
    return process


def one_thread() -> None:
    """As in the tests' own process."""
    torch.set_num_threads(1)
