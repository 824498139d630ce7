"""Evaluating an integer network: all time steps of a layer at once, or step by step as a stream would come."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bitspike.allocation import keep_freed_memory
from bitspike.data import Dataset
from bitspike.integer import run
from bitspike.runtime import IntegerNet
from bitspike.train.evaluate import Evaluation

Order = Literal["layers", "steps"]


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
    keep_freed_memory()
    confusion = np.zeros((data.classes, data.classes), dtype=np.int64)
    spikes: Counter[str] = Counter()
    neurons: Counter[str] = Counter()
    began = time.perf_counter()
    for first in range(0, len(data), batch):
        part = data.subset(slice(first, first + batch))
        logits = _run(net, part, order, spikes, neurons)
        if logits.shape[1] != data.classes:
            raise ValueError(
                f"the network tells {logits.shape[1]} classes apart, {data.name} has {data.classes}; "
                "choose the data set it was made for"
            )
        np.add.at(confusion, (part.labels, logits.argmax(1)), 1)
        advance(len(part))
    taken = time.perf_counter() - began
    correct = int(np.trace(confusion))
    rates = {name: spikes[name] / neurons[name] for name in neurons}
    return Evaluation(correct / len(data), correct, len(data), taken, rates, confusion)


def _run(
    net: IntegerNet, part: Dataset, order: Order, spikes: Counter[str], neurons: Counter[str]
) -> NDArray[np.int64]:
    """Logits [B, K]; the spikes of every layer are counted on the way."""
    samples = np.moveaxis(part.inputs, 1, 0) if part.kind == "events" else part.inputs
    frames = run.frames(net.graph, torch.from_numpy(np.ascontiguousarray(samples)))
    state = run.State()
    layers = {node.name for node in net.graph.spiking}

    def count(name: str, value: torch.Tensor) -> None:
        if name in layers:
            spikes[name] += int(value.count_nonzero())
            neurons[name] += value.numel()

    for chunk in [frames] if order == "layers" else frames.split(1):
        logits = run.advance(net.graph, chunk, state, count)
    result: NDArray[np.int64] = logits.numpy()
    return result
