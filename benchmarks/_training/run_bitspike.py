"""Worker `bitspike`: the step of `bitspike.train`'s own loop, on batches that lie in memory."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from _shared.serving import own_output
from _training.cases import CLASSES
from _training.served import LEARNING_RATE, MOMENTUM, serve_training
from bitspike.allocation import keep_freed_memory
from bitspike.block.native import plain
from bitspike.model import create_model
from bitspike.train import Recipe
from bitspike.train.checkpoint import Progress, Run
from bitspike.train.firing import FiringRates
from bitspike.train.loop import TrainingLoop
from bitspike.train.losses import CLASSIFICATION_LOSSES
from bitspike.train.optimizer import build_optimizer


@dataclass(frozen=True)
class FixedBatches:
    """What the loop asks of `bitspike.train.batches.Batches`, without choosing and changing samples."""

    inputs: list[Tensor]
    labels: list[Tensor]
    classes: int = CLASSES

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return len(self.inputs)

    def get(self, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """(inputs, labels) of one step."""
        return self.inputs[step], self.labels[step]


class Training:
    """A network, and steps on it as `bitspike.train.train` makes them."""

    def __init__(
        self,
        model: str,
        options: dict[str, Any],
        spec: str,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        precision: str = "float32",
    ) -> None:
        self.net = create_model(model, spec=spec, **options).train()
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        train = {
            "optimizer": "sgd",
            "lr": LEARNING_RATE,
            "momentum": MOMENTUM,
            "schedule": "constant",
            "loss": "time-mean",
            "precision": precision,
            "channels_last": True,
        }
        recipe = {"model": {"name": model, "options": options}, "data": {"name": "random"}, "quant": spec}
        self.recipe = Recipe.from_dict(recipe | {"train": train})
        inputs = [torch.from_numpy(batch).contiguous(memory_format=torch.channels_last) for batch in images]
        self.batches: Any = FixedBatches(inputs, [torch.from_numpy(batch) for batch in labels])
        run = Run(self.net, build_optimizer(self.net, self.recipe.train), None, Progress())
        self.loop = TrainingLoop(run, self.net, self.batches, None, self.recipe, None, {})
        self.rates = FiringRates(self.net)

    def step(self, i: int) -> float:
        """One step on batch i: its loss."""
        self.loop.run.progress.step = i
        return self.loop._collect([self.loop._step(self.rates)])

    def loss(self, i: int) -> Tensor:
        """The forward half of a step alone."""
        inputs, labels = self.batches.get(0, i)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.loop.precision == "bfloat16"):
            logits = self.net(inputs)
        return CLASSIFICATION_LOSSES[self.recipe.train.loss](logits, labels)

    def firing_rate(self) -> float:
        """Mean over the spiking layers, on the first batch."""
        self.rates.clear()
        self.loss(0)
        rates = self.rates.mean().values()
        return sum(rates) / len(rates)


def main() -> None:
    """MODEL OPTIONS BATCHES.npz --spec SPEC: train a registered network; OPTIONS is its table as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("options", type=json.loads)
    parser.add_argument("batches", type=Path)
    parser.add_argument("--spec", required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--plain", action="store_true", help="torch's own operations instead of the fused ones")
    given = parser.parse_args()
    pipe = own_output()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_memory()  # as `bitspike.train.train` begins
    stored = np.load(given.batches)
    training = Training(given.model, given.options, given.spec, stored["images"], stored["labels"], given.precision)
    with training.rates, plain() if given.plain else nullcontext():
        serve_training(pipe, training.step, training.loss, training.firing_rate, training.net, training.batches.steps)


if __name__ == "__main__":
    main()
