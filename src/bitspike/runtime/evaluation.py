"""Evaluating an integer network: all time steps of a layer at once, or step by step as a stream would come.

Imports without torch.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bitspike.allocation import keep_freed_memory
from bitspike.integer.shapes import shapes
from bitspike.wording import columns, percent, seconds

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.runtime.net import IntegerNet

Order = Literal["layers", "steps"]
Form = Literal["integer", "real", "float"]
FORMS: dict[Form, str] = {"integer": "as integers", "real": "in the real form", "float": "in floating point"}


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found, and in which form; accuracy is a fraction, rates are spikes per neuron and step."""

    accuracy: float
    correct: int
    samples: int
    seconds: float
    firing_rates: dict[str, float]
    confusion: NDArray[np.int64]
    """[classes, classes]: rows are the true class, columns the predicted one."""
    form: Form

    def __str__(self) -> str:
        rates = [(name, percent(rate, 1)) for name, rate in self.firing_rates.items()]
        found = f"{percent(self.accuracy)} {FORMS[self.form]}: {self.correct:,} of {self.samples:,} samples"
        lines = [f"{found} in {seconds(self.seconds)}"]
        return "\n".join([*lines, columns(("layer", "firing rate"), rates)] if rates else lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "accuracy": self.accuracy,
            "correct": self.correct,
            "samples": self.samples,
            "seconds": self.seconds,
            "firing_rates": dict(self.firing_rates),
            "confusion": self.confusion.tolist(),
            "form": self.form,
        }


def evaluate_integers(
    net: IntegerNet,
    data: Dataset,
    *,
    batch: int = 64,
    order: Order = "layers",
    advance: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Accuracy, confusion and firing rates of an integer network; both orders give the same numbers.

    order: "layers", all time steps of a layer at once, or "steps", one step of all layers as a stream would come.
    advance: called with the number of samples done, after every batch.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be 1 or more")
    if order not in get_args(Order):
        raise ValueError(f"order is {order!r}; allowed: {', '.join(get_args(Order))}")
    entry = net.graph.input
    check_samples(data, "images" if entry.kind == "image" else "events", entry.shape, entry.time_steps)
    keep_freed_memory()
    confusion = np.zeros((data.classes, data.classes), dtype=np.int64)
    spikes: Counter[str] = Counter()
    neurons: Counter[str] = Counter()
    began = time.perf_counter()
    for inputs, labels in data.batches(batch):
        logits = _count(net, np.ascontiguousarray(inputs), order, spikes, neurons)
        if logits.shape[1] != data.classes:
            raise ValueError(
                f"the network tells {logits.shape[1]} classes apart, {data.name} has {data.classes}; "
                "choose the data set it was made for"
            )
        np.add.at(confusion, (labels, logits.argmax(1)), 1)
        advance(len(labels))
    taken = time.perf_counter() - began
    correct = int(np.trace(confusion))
    rates = {name: spikes[name] / neurons[name] for name in neurons}
    return Evaluation(correct / len(data), correct, len(data), taken, rates, confusion, "integer")


def engine_name(net: IntegerNet) -> str:
    """What `evaluate_integers` runs this network on."""
    return net.runner.name


def _count(
    net: IntegerNet, samples: NDArray[np.uint8], order: Order, spikes: Counter[str], neurons: Counter[str]
) -> NDArray[np.int64]:
    """Logits [B, K]; the spikes of every layer, and how many there could have been, are added on the way."""
    events = net.graph.input.kind == "events"
    steps = samples.shape[0] if events else net.graph.input.time_steps or 1
    batch = samples.shape[1] if events else samples.shape[0]
    if order == "layers":
        runs = [net.runner.run(samples, values=False, membranes=False)]
    else:
        state = net.runner.state(batch)
        frames = samples if events else [samples] * steps
        runs = [net.runner.run_step(frame, state, values=False, membranes=False) for frame in frames]
    sizes = shapes(net.graph)
    for node in net.graph.spiking:
        spikes[node.name] += sum(found.spike_counts[node.name] for found in runs)
        neurons[node.name] += math.prod(sizes[node.name]) * batch * steps
    return runs[-1].logits


def check_samples(data: Dataset, takes: str, shape: tuple[int, ...], time_steps: int | None) -> None:
    """Say in one sentence why a data set cannot enter a network that takes images or events of this shape."""
    if len(data) == 0:
        raise ValueError(f"{data.name} ({data.split}) has no samples to evaluate")
    if data.kind != takes:
        raise ValueError(f"{data.name} holds {data.kind}, the network takes {takes}")
    if tuple(shape) != tuple(data.input_shape):
        raise ValueError(
            f"{data.name} has samples of shape {_shape(data.input_shape)} (C, H, W), the network takes "
            f"{_shape(shape)}; choose the data set it was made for, or build the network for this one"
        )
    if data.kind == "events" and time_steps not in (None, data.time_steps):
        raise ValueError(
            f"{data.name} was binned into {data.time_steps} time steps, the network takes "
            f"{time_steps}; load the data with time_steps={time_steps}"
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)
