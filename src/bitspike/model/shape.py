"""Checks of the arguments that every network takes, with one wording."""

from __future__ import annotations

from collections.abc import Sequence

from bitspike.data.arrays import channel_numbers

MINIMUM_CLASSES = 2


def checked_shape(input_shape: Sequence[int], *, halvings: int = 0) -> tuple[int, int, int]:
    """(channels, height, width) of the input, large enough to be halved that many times."""
    shape = tuple(int(size) for size in input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"input_shape is {list(shape)}; give [channels, height, width], each 1 or more.")
    if min(shape[1:]) < 2**halvings:
        raise ValueError(
            f"input_shape is {list(shape)}; this network halves the map {halvings} times, so give height and "
            f"width of at least {2**halvings}."
        )
    return shape[0], shape[1], shape[2]


def checked_classes(classes: int) -> int:
    """The number of classes, two or more."""
    if classes < MINIMUM_CLASSES:
        raise ValueError(f"classes is {classes}; give {MINIMUM_CLASSES} or more.")
    return classes


def channel_means(mean: float | Sequence[float] | None, channels: int) -> tuple[float, ...]:
    """One mean per colour in [0, 1]; mid-grey where the data's own is not given."""
    return channel_numbers("mean", 0.5 if mean is None else mean, channels)


def checked_choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}.")
    return value
