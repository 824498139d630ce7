"""Carving a validation split out of a train split: stratified, and the same for ever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitspike.data.dataset import Dataset

_MASK = (1 << 64) - 1


def split_validation(
    data: Dataset, fraction: float | None = None, seed: int = 0, *, count: int | None = None
) -> tuple[Dataset, Dataset]:
    """Return (train, validation), disjoint and together all of `data`, both in the order of `data`.

    Give either `fraction` (of the samples, between 0 and 1; the count is floor(fraction * N + 1/2)) or
    `count`. Every class gives its share, rounded by largest remainder (equal remainders: the lower class
    first), so the count is met exactly. Which samples go is a hash of seed and position, not a library's
    random stream: the same on every machine and version.
    """
    if (fraction is None) == (count is None):
        raise ValueError("give either fraction or count, and not both")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int | np.integer)):
        raise ValueError(f"count is {count!r}, but must be a whole number of samples; for a share of them use fraction")
    if fraction is not None:
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}, but must lie between 0 and 1")
        count = int(np.floor(fraction * len(data) + 0.5))
    if count is None or not 0 < count < len(data):
        raise ValueError(f"a validation split of {count} samples out of {len(data)} leaves one side empty")
    chosen = np.zeros(len(data), dtype=bool)
    order_key = _shuffle_keys(len(data), seed)
    for label, share in enumerate(_shares(np.bincount(data.labels, minlength=data.classes), count)):
        members = np.flatnonzero(data.labels == label)
        chosen[members[np.argsort(order_key[members], kind="stable")[:share]]] = True
    return data.subset(np.flatnonzero(~chosen)), data.subset(np.flatnonzero(chosen))


def _shares(sizes: NDArray[np.intp], count: int) -> list[int]:
    """Return how many of `count` each class gives, proportional to its size, by largest remainder."""
    total = int(sizes.sum())
    shares = [int(size) * count // total for size in sizes]
    remainders = [int(size) * count % total for size in sizes]
    by_remainder = sorted(range(len(shares)), key=lambda label: (-remainders[label], label))
    for label in by_remainder[: count - sum(shares)]:
        shares[label] += 1
    return shares


def _shuffle_keys(length: int, seed: int) -> NDArray[np.uint64]:
    """Return one well-mixed 64-bit key per position: the SplitMix64 sequence started at the mixed seed."""
    with np.errstate(over="ignore"):
        start = _mix(np.array([seed & _MASK], dtype=np.uint64))
        return _mix(start + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
