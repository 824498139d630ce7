"""Accuracy of a labelled network on a data set, both schemes, with what its neurons did."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data import Dataset
from bitspike.stdp.labels import SILENT, confusion
from bitspike.stdp.network import StdpNetwork
from bitspike.wording import percent, seconds


@dataclass(frozen=True)
class StdpEvaluation:
    """What was found on a data set.

    accuracies   by scheme, fractions; a response without a class counts as wrong
    confusion    [classes, classes + 1] by proportion weighting, the last column: no class
    silent       images without a class
    spikes       of all neurons, per image;  busiest: the largest share of one neuron in them
    """

    samples: int
    accuracies: dict[str, float]
    confusion: NDArray[np.int64]
    silent: int
    spikes: float
    active_neurons: int
    busiest: float
    seconds: float

    def __str__(self) -> str:
        schemes = ", ".join(f"{percent(value)} by {name}" for name, value in self.accuracies.items())
        return f"{schemes}: {self.samples:,} images in {seconds(self.seconds)}"

    @property
    def accuracy(self) -> float:
        """By proportion weighting."""
        return self.accuracies["proportion"]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "samples": self.samples,
            "accuracy": self.accuracy,
            "accuracies": self.accuracies,
            "confusion": self.confusion.tolist(),
            "silent_images": self.silent,
            "spikes_per_image": self.spikes,
            "active_neurons": self.active_neurons,
            "busiest_share": self.busiest,
            "seconds": self.seconds,
        }


def evaluate(
    network: StdpNetwork,
    data: Dataset,
    *,
    threads: int | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> StdpEvaluation:
    """Present a data set without learning; told: how many images are done."""
    labels = network.labels
    if labels is None:
        raise ValueError("the network's neurons have no classes yet; finish its training first")
    if data.kind != "images" or int(np.prod(data.input_shape)) != network.config.inputs:
        raise ValueError(
            f"{data.name} has {data.kind} of {int(np.prod(data.input_shape))} values; "
            f"the network takes images of {network.config.inputs} pixels"
        )
    if data.classes != labels.classes:
        raise ValueError(f"{data.name} has {data.classes} classes; the network's neurons stand for {labels.classes}")
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        told(done)

    began = time.perf_counter()
    counts = network.respond(data.inputs.reshape(len(data), -1), threads=threads, advance=advance)
    predicted = {name: labels.predict(counts, name) for name in ("proportion", "all-activity")}
    by_neuron = counts.sum(0)
    return StdpEvaluation(
        samples=len(data),
        accuracies={name: float((found == data.labels).mean()) for name, found in predicted.items()},
        confusion=confusion(data.labels, predicted["proportion"], labels.classes),
        silent=int((predicted["proportion"] == SILENT).sum()),
        spikes=float(counts.sum() / max(1, len(data))),
        active_neurons=int((by_neuron > 0).sum()),
        busiest=float(by_neuron.max() / max(1, by_neuron.sum())),
        seconds=time.perf_counter() - began,
    )
