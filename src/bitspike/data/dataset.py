"""`Dataset`: samples as unsigned bytes, with labels and the few numbers a network's input needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.checksum import new_hash

SPLITS = ("train", "test")
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split of a data set, whole in memory, integers only.

    inputs:  uint8; still images `[N, C, H, W]` (0..255), or event counts `[N, T, C, H, W]` (0..bound),
             channel 0 = off events, channel 1 = on events.
    labels:  int64 `[N]`, 0 <= label < classes.
    mean:    mean of each colour over the train split, on a scale where 255 is 1; () for events.
    std:     one deviation for all colours, sqrt(mean over colours of the colour's variance), same scale;
             1.0 for events.
    bound:   the largest value an input can take: 255 for images, the clipping bound for events.
    clipped: how many events were lost to that bound while the inputs were made.
    """

    name: str
    split: str
    inputs: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: int
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: float = 1.0
    bound: int = 255
    clipped: int = 0

    def __post_init__(self) -> None:
        check_split(self.split)
        _check_inputs(self)
        _check_labels(self)
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(f"{self.name}: {len(self.class_names)} class names for {self.classes} classes")
        if self.kind == "images" and len(self.mean) != self.input_shape[0]:
            raise ValueError(
                f"{self.name}: {len(self.mean)} mean values for {self.input_shape[0]} colours; give one per colour"
            )
        if not all(isfinite(value) for value in (*self.mean, self.std)):
            raise ValueError(f"{self.name}: mean {self.mean} and std {self.std} must be finite numbers")
        if not self.std > 0:
            raise ValueError(f"{self.name}: std is {self.std}, but must be above 0")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> str:
        """Return "images" or "events"."""
        return "events" if self.inputs.ndim == 5 else "images"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Return (C, H, W) of one sample, or of one time step of it."""
        channels, height, width = self.inputs.shape[-3:]
        return channels, height, width

    @property
    def time_steps(self) -> int | None:
        """Return the number of time steps T of event data; None for images, which have none of their own."""
        return int(self.inputs.shape[1]) if self.kind == "events" else None

    @cached_property
    def fingerprint(self) -> str:
        """Return the sha256 over the inputs' shape (as text), their bytes, and the labels as int64 (LE)."""
        hasher = new_hash("sha256")
        hasher.update(repr(tuple(int(size) for size in self.inputs.shape)).encode())
        hasher.update(np.ascontiguousarray(self.inputs).data)
        hasher.update(np.ascontiguousarray(self.labels.astype("<i8", copy=False)).data)
        return str(hasher.hexdigest())

    def batches(self, size: int) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Yield (inputs, labels) as networks take them: images [B, C, H, W], events time first, [T, B, C, H, W]."""
        if size < 1:
            raise ValueError(f"a batch of {size} samples; it must be 1 or more")
        for first in range(0, len(self), size):
            inputs = self.inputs[first : first + size]
            yield np.moveaxis(inputs, 1, 0) if self.kind == "events" else inputs, self.labels[first : first + size]

    def subset(self, indices: Sequence[int] | NDArray[Any] | slice) -> Dataset:
        """Return the samples at `indices` (integers, a boolean mask or a slice); the rest stays as it is."""
        chosen: Any = indices if isinstance(indices, slice) else np.asarray(indices)
        if not isinstance(chosen, slice) and chosen.size == 0:
            chosen = chosen.astype(np.int64)
        return replace(self, inputs=self.inputs[chosen], labels=self.labels[chosen])


def check_split(split: str) -> None:
    """Raise unless `split` is one that data sets have."""
    if split not in SPLITS:
        raise ValueError(f"split {split!r} does not exist: use 'train' or 'test'")


def _check_inputs(data: Dataset) -> None:
    inputs: Any = data.inputs  # typed Any because users reach this with anything
    if not isinstance(inputs, np.ndarray) or inputs.dtype != np.uint8:
        found = inputs.dtype if isinstance(inputs, np.ndarray) else type(inputs).__name__
        raise TypeError(
            f"{data.name}: inputs are {found}, but must be a uint8 array (pixels 0..255 or event counts); "
            "scale and round floats yourself, so that the integers are the ones you mean"
        )
    if inputs.ndim not in (4, 5) or 0 in inputs.shape[1:]:
        raise ValueError(
            f"{data.name}: inputs have shape {list(inputs.shape)}, but must be images [N, C, H, W] or event "
            f"counts [N, T, C, H, W], no size zero"
        )
    if not 1 <= data.bound <= 255:
        raise ValueError(f"{data.name}: bound is {data.bound}, but must be from 1 to 255")
    if data.bound < 255 and inputs.size and int(inputs.max()) > data.bound:
        raise ValueError(f"{data.name}: inputs reach {int(inputs.max())}, above their bound {data.bound}")


def _check_labels(data: Dataset) -> None:
    labels: Any = data.labels
    if not isinstance(labels, np.ndarray) or labels.dtype != np.int64:
        found = labels.dtype if isinstance(labels, np.ndarray) else type(labels).__name__
        raise TypeError(f"{data.name}: labels are {found}, but must be an int64 array")
    if labels.shape != (len(data.inputs),):
        raise ValueError(
            f"{data.name}: labels have shape {list(labels.shape)}, but {len(data.inputs)} inputs need "
            f"[{len(data.inputs)}]"
        )
    if data.classes < 1:
        raise ValueError(f"{data.name}: {data.classes} classes, but there must be at least 1")
    if labels.size and not (labels.min() >= 0 and labels.max() < data.classes):
        wrong = int(np.flatnonzero((labels < 0) | (labels >= data.classes))[0])
        raise ValueError(
            f"{data.name}: label {int(labels[wrong])} of sample {wrong} is out of range 0..{data.classes - 1}"
        )


def measure_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], float]:
    """Return (mean per colour, one std) of uint8 images `[N, C, H, W]`, on a scale where 255 is 1.

    Sums are exact integers, so the result depends on no order of addition.
    """
    means, variances = [], []
    values = np.arange(256, dtype=np.int64)
    for colour in range(images.shape[1]):
        histogram = np.zeros(256, dtype=np.int64)
        for start in range(0, len(images), _CHUNK):
            histogram += np.bincount(images[start : start + _CHUNK, colour].ravel(), minlength=256)
        count = int(histogram.sum())
        if count == 0:
            raise ValueError("no images: mean and std need at least one")
        total, squares = int(histogram @ values), int(histogram @ values**2)
        means.append(total / (255 * count))
        variances.append((count * squares - total * total) / (255 * count) ** 2)
    return tuple(means), sqrt(sum(variances) / len(variances))
