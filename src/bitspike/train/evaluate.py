"""Accuracy of a network on a data set, in the form that ships: integers wherever the network has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitspike.allocation import keep_freed_memory
from bitspike.block import EventInput, Form, ImageInput, blocks_of
from bitspike.data import Dataset
from bitspike.runtime import evaluation
from bitspike.runtime.evaluation import Evaluation, check_samples
from bitspike.train.firing import FiringRates


@contextmanager
def evaluation_state(net: nn.Module) -> Iterator[None]:
    """`net.eval()`, and after it every module in the state it had."""
    training = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, state in training.items():
            module.training = state


def as_tensor(array: NDArray[Any]) -> Tensor:
    """The array as a tensor; copied only where torch could not share it (read-only or strided memory)."""
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def network_input(inputs: Tensor) -> Tensor:
    """Samples as the network takes them: images stay [B, C, H, W], events [B, T, C, H, W] turn time first."""
    return inputs.transpose(0, 1).contiguous() if inputs.dim() == 5 else inputs


def check_fit(net: nn.Module, dataset: Dataset) -> None:
    """Say in one sentence why a data set cannot enter a network, before any tensor does."""
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} ({dataset.split}) has no samples to evaluate")
    low, high = int(dataset.labels.min()), int(dataset.labels.max())
    if low < 0 or high >= dataset.classes:
        raise ValueError(f"{dataset.name} has labels from {low} to {high}; allowed: 0 to {dataset.classes - 1}")
    entry = _input_block(net)
    if entry is not None:
        takes = "images" if isinstance(entry, ImageInput) else "events"
        check_samples(dataset, takes, entry.shape, entry.time_steps)


def _input_block(net: nn.Module) -> ImageInput | EventInput | None:
    """Where samples enter; None where a foreign network does not say."""
    return next((module for module in net.modules() if isinstance(module, ImageInput | EventInput)), None)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape)


def check_logits(logits: Tensor, labels: Tensor, classes: int, name: str) -> None:
    """Logits must be [T, B, K] with room for every class of the data."""
    if logits.dim() != 3 or logits.shape[1] != len(labels):
        raise ValueError(
            f"the network returned logits of shape {_shape(tuple(logits.shape))} for {len(labels)} samples "
            f"of {name}; they must be [T, B, classes]"
        )
    if logits.shape[2] != classes:
        raise ValueError(f"the network tells {logits.shape[2]} classes apart, {name} has {classes}")


@torch.no_grad()
def evaluate(
    net: nn.Module, dataset: Dataset, *, batch: int = 64, device: torch.device | str | None = None
) -> Evaluation:
    """Classify every sample with the network in its `eval()` form and count.

    That form is the integer one; blocks left at 32 bits stay float. `device` is where the network is unless
    told; the network's state (training or not) is the same afterwards.
    """
    if batch < 1:
        raise ValueError(f"batch is {batch}; it must be 1 or more")
    check_fit(net, dataset)
    keep_freed_memory()
    where = torch.device(device) if device is not None else _device_of(net)
    confusion = torch.zeros(dataset.classes, dataset.classes, dtype=torch.int64)
    start = time.perf_counter()
    with evaluation_state(net), FiringRates(net) as rates:
        for first in range(0, len(dataset), batch):
            inputs = as_tensor(dataset.inputs[first : first + batch]).to(where)
            labels = as_tensor(dataset.labels[first : first + batch])
            logits = net(network_input(inputs))
            check_logits(logits, labels, dataset.classes, dataset.name)
            predicted = logits.double().mean(0).argmax(-1).cpu()
            confusion.index_put_((labels, predicted), torch.ones_like(labels), accumulate=True)
        seconds = time.perf_counter() - start
        firing, form = rates.mean(), _form_of(net)
    correct = int(confusion.diagonal().sum())
    return Evaluation(correct / len(dataset), correct, len(dataset), seconds, firing, confusion.numpy(), form)


def _form_of(net: nn.Module) -> evaluation.Form:
    """What the network computes as a whole; one block in floating point makes it that."""
    forms = {block.form for _, block in blocks_of(net)}
    if not forms or forms & {Form.FLOAT, Form.TRAINING}:
        return "float"
    return "real" if Form.REAL in forms else "integer"


def _device_of(net: nn.Module) -> torch.device:
    first = next(net.parameters(), None)
    return first.device if first is not None else torch.device("cpu")
