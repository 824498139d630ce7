"""The native kernels of training behind ctypes: what lies between a layer's weighted sums and its spikes.

Nothing here knows torch: tensors come as addresses. `bitspike.block.native` stands on it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from ctypes import byref
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.engine.library import Layer, library, loaded_library


@cache
def _library() -> Any:
    return loaded_library()


@cache
def builds() -> tuple[str, ...]:
    """Names of the builds of these kernels that this processor can run, best first; none without the library."""
    found = library()
    if found is None:
        return ()
    usable = (number for number in range(found.bs_train_build_count()) if found.bs_train_build_usable(number))
    return tuple(found.bs_train_build_name(number).decode() for number in usable)


@cache
def _build() -> int:
    """The number of the best one."""
    found = _library()
    return next(number for number in range(found.bs_train_build_count()) if found.bs_train_build_usable(number))


@cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="bitspike-training")


def _split(work: Callable[[int, int], Any], size: int, threads: int) -> list[Any]:
    """work(from, to) of equal parts of 0 .. size, one a thread; the results in order."""
    parts = max(1, min(threads, size))
    edges = [size * part // parts for part in range(parts + 1)]
    others = [_workers(threads).submit(work, *edges[part : part + 2]) for part in range(1, parts)]
    return [work(edges[0], edges[1]), *(other.result() for other in others)]


def moments(
    address: int, rows: int, channels: int, *, half: bool, threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and sum of squared deviations from it, of every column of [rows, channels]."""
    size = channels * (2 if half else 4)

    def part(start: int, stop: int) -> tuple[int, NDArray[np.float64]]:
        found = np.empty((2, channels))
        failed = _library().bs_train_moments(
            _build(), address + start * size, half, stop - start, channels, found[0].ctypes.data, found[1].ctypes.data
        )
        if failed:
            raise MemoryError("there is not enough memory for a layer's statistics")
        return stop - start, found

    parts = _split(part, rows, threads)
    if len(parts) == 1:
        return parts[0][1][0], parts[0][1][1]
    mean = sum(count * found[0] for count, found in parts) / rows
    squares = sum(found[1] + count * (found[0] - mean) ** 2 for count, found in parts)
    return np.asarray(mean), np.asarray(squares)


def forward(layer: Layer, threads: int) -> int:
    """Write the spikes of a layer; how many there are before they are pooled."""
    counts = _split(
        lambda start, stop: _library().bs_train_forward(_build(), byref(layer), start, stop), layer.samples, threads
    )
    if min(counts) < 0:
        raise MemoryError("there is not enough memory for a layer's potentials")
    return sum(counts)


def backward(layer: Layer, threads: int) -> NDArray[np.float64]:
    """Write the flow of a layer; [3, C]: its sum, and its sums times x - mean and e - extra_mean."""

    def part(start: int, stop: int) -> NDArray[np.float64]:
        totals = np.empty((3, layer.channels))
        if _library().bs_train_backward(_build(), byref(layer), start, stop, totals.ctypes.data):
            raise MemoryError("there is not enough memory for a layer's potentials")
        return totals

    return np.asarray(sum(_split(part, layer.samples, threads)))


def affine(
    flow: int, value: int, to: int, rows: int, coefficients: NDArray[np.float32], *, half: bool, threads: int
) -> None:
    """to = a * flow + b * value + c by columns; coefficients [3, C] are a, b, c. `to` may be `flow`."""
    channels = coefficients.shape[1]
    size = channels * (2 if half else 4)
    a, b, c = (row.ctypes.data for row in coefficients)

    def part(start: int, stop: int) -> None:
        at = start * size
        _library().bs_train_affine(_build(), flow + at, value + at, half, stop - start, channels, a, b, c, to + at)

    _split(part, rows, threads)


def pack(address: int, count: int, to: int, *, half: bool) -> bool:
    """One bit for each number that is not 0; whether all were 0 or 1, and so nothing is lost."""
    return bool(_library().bs_train_pack(_build(), address, half, count, to))


def unpack(bits: int, count: int, to: int, *, half: bool) -> None:
    """The numbers of packed bits."""
    _library().bs_train_unpack(_build(), bits, half, count, to)
