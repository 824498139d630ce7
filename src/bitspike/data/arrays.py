"""A `Dataset` from a user's own arrays, with every mistake named."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bitspike.data.dataset import Dataset, measure_statistics

_MOST_CLASSES = 1_000_000


def dataset_from_arrays(
    inputs: NDArray[Any],
    labels: ArrayLike,
    *,
    name: str = "arrays",
    split: str = "train",
    classes: int | None = None,
    class_names: Sequence[str] = (),
    mean: float | Sequence[float] | None = None,
    std: float | None = None,
    bound: int | None = None,
) -> Dataset:
    """Return a `Dataset` over arrays of your own.

    inputs:  images `[N, H, W]` or `[N, C, H, W]`, uint8; or event counts `[N, T, C, H, W]`, any integer type
             with values from 0 to `bound` (at most 255).
    labels:  N integers from 0.
    classes: default: the largest label plus one, or the number of class names.
    mean, std: of images; default: measured on these inputs. For a test split pass those of the train split.
    bound:   of event counts; default: the largest count present.
    """
    if not isinstance(inputs, np.ndarray):
        raise TypeError(f"{name}: inputs are {type(inputs).__name__}, but must be a numpy array")
    if inputs.ndim not in (3, 4, 5):
        raise ValueError(
            f"{name}: inputs have shape {list(inputs.shape)}, but must be images [N, H, W] or [N, C, H, W], "
            "or event counts [N, T, C, H, W]"
        )
    if len(inputs) == 0:
        raise ValueError(f"{name}: inputs have shape {list(inputs.shape)}, but must hold at least one sample")
    _refuse_channels_last(inputs, name)
    checked_labels = _integer_labels(labels, name)
    if classes is None:
        classes = len(class_names) or _count_classes(checked_labels, name)
    common: dict[str, Any] = {
        "name": name,
        "split": split,
        "labels": checked_labels,
        "classes": classes,
        "class_names": tuple(class_names),
    }
    if inputs.ndim == 5:
        counts, bound = _counts(inputs, bound, name)
        if mean is not None or std is not None:
            raise ValueError(f"{name}: mean and std are for images; event counts enter a network as they are")
        return Dataset(inputs=counts, bound=bound, **common)
    if bound not in (None, 255):
        raise ValueError(f"{name}: bound={bound} is for event counts; images are bounded by 255")
    images = inputs[:, None] if inputs.ndim == 3 else inputs
    if (mean is None or std is None) and images.dtype == np.uint8 and images.size:
        measured_mean, measured_std = measure_statistics(images)
        mean = measured_mean if mean is None else mean
        # A constant picture has no deviation; 1/255 keeps the input scale finite.
        std = max(measured_std, 1 / 255) if std is None else std
    colours = images.shape[1] if images.ndim == 4 else 1  # of other shapes Dataset says what is wrong
    means = () if mean is None else channel_numbers("mean", mean, colours)
    return Dataset(inputs=images, mean=means, std=1.0 if std is None else float(std), **common)


def channel_numbers(name: str, value: Any, channels: int) -> tuple[float, ...]:
    """A number for all channels, or one for each, of whatever holds numbers: Python's, numpy's, torch's."""
    try:
        found = np.asarray(value, float)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; give a number, or one for each channel") from None
    return (float(found),) * channels if found.ndim == 0 else tuple(float(part) for part in found.ravel())


def is_bound(value: Any) -> bool:
    """Whether a number can bound counts in a byte."""
    return isinstance(value, Integral) and not isinstance(value, bool) and 1 <= int(value) <= 255


def _refuse_channels_last(inputs: NDArray[Any], name: str) -> None:
    """Raise for images whose last axis looks like colours: read as a width, they would train on nonsense."""
    if inputs.ndim == 4 and inputs.shape[3] in (1, 3, 4) and min(inputs.shape[1:3]) > inputs.shape[3]:
        raise ValueError(
            f"{name}: inputs have shape {list(inputs.shape)}, which looks like [N, H, W, C], but images must be "
            "[N, C, H, W]; give numpy.moveaxis(x, -1, 1) (pictures that are really this narrow: swap height and width)"
        )


def _count_classes(labels: NDArray[np.int64], name: str) -> int:
    """Return the largest label plus one; labels that are no class numbers would make a network that large."""
    if labels.size == 0:
        raise ValueError(f"{name}: labels are empty, but must be [N], one class number a sample")
    count = int(labels.max()) + 1
    if count >= _MOST_CLASSES:
        raise ValueError(
            f"{name}: label {count - 1} would mean {count} classes; number the classes from 0, or pass classes "
            "if that many are meant"
        )
    return count


def _integer_labels(labels: ArrayLike, name: str) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{name}: labels are {array.dtype}, but must be integers (class numbers from 0)")
    if array.ndim != 1:
        raise ValueError(f"{name}: labels have shape {list(array.shape)}, but must be [N], one class number a sample")
    if array.size and int(array.max()) >= 1 << 62:
        raise ValueError(f"{name}: label {int(array.max())} is no class number")
    return array.astype(np.int64)


def _counts(inputs: NDArray[Any], bound: int | None, name: str) -> tuple[NDArray[np.uint8], int]:
    """Return event counts as uint8 with their bound; nothing is clipped, what does not fit is refused."""
    if inputs.dtype.kind not in "iub":
        raise TypeError(f"{name}: event counts are {inputs.dtype}, but must be integers")
    low, high = (int(inputs.min()), int(inputs.max())) if inputs.size else (0, 0)
    limit = max(high, 1) if bound is None else bound
    if not is_bound(limit) or low < 0 or high > limit:
        raise ValueError(
            f"{name}: event counts run from {low} to {high}, but must lie in 0..bound with a whole bound from 1 to "
            f"255 (given: {bound}); clip them first"
        )
    return inputs.astype(np.uint8), int(limit)
