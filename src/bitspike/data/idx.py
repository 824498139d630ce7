"""The IDX format of MNIST and Fashion-MNIST.

A file is: two zero bytes, the type (8 = unsigned byte, the only one read here), the number of dimensions,
each dimension as a big-endian 32-bit integer, then the bytes in row-major order. So images begin with the
number 2051 (three dimensions) and labels with 2049 (one).
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 0x08


def parse_idx(data: bytes, dimensions: int, where: str) -> NDArray[np.uint8]:
    """Return the array in `data`, a whole IDX file of unsigned bytes with the given number of dimensions."""
    header = 4 + 4 * dimensions
    magic = int.from_bytes(data[:4], "big")
    expected = _UNSIGNED_BYTE << 8 | dimensions
    if len(data) < 4 or magic != expected:
        what = {1: "labels", 3: "images"}.get(dimensions, f"{dimensions}-dimensional data")
        raise ValueError(
            f"{where}: wrong magic number {magic}, an IDX file of {what} begins with {expected}; "
            "is it another file, or still packed?"
        )
    if len(data) < header:
        raise ValueError(f"{where}: cut short within its header ({len(data)} of {header} bytes); fetch it again")
    shape = tuple(int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(dimensions))
    if len(data) != header + prod(shape):
        raise ValueError(
            f"{where}: {len(data)} bytes, but its header ({' x '.join(map(str, shape))}) asks for "
            f"{header + prod(shape)}; the file is cut short or damaged: fetch it again"
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(shape).copy()
