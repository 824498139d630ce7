"""A layer's per-channel constants as they are stored: without the zeros that all of them end with.

Constants in fixed point are multiples of a power of two; what is left of them after a common shift is narrower.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Fire, Integers

TABLES = ("threshold", "rounding", "rounding_fired")
_WIDTHS = (np.uint8, np.int8, np.int16, np.int32)


def narrow(values: Integers) -> Integers:
    """The values in the first of uint8, int8, int16, int32 that holds them all."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for width in _WIDTHS:
        limits = np.iinfo(width)
        if limits.min <= low and high <= limits.max:
            return values.astype(width)
    raise ValueError(f"values from {low} to {high} do not fit 32 bits")


def table_shift(fire: Fire) -> int:
    """How far all constants of a layer can be shifted right and back; 0 where that makes none of them narrower."""
    tables = [np.asarray(table, np.int64) for table in _tables(fire)]
    bits = int(np.bitwise_or.reduce([np.bitwise_or.reduce(table, axis=None) for table in tables if table.size] or [0]))
    if bits == 0:
        return 0
    shift = (bits & -bits).bit_length() - 1
    narrower = sum(narrow(table >> shift).nbytes for table in tables) < sum(narrow(table).nbytes for table in tables)
    return shift if narrower else 0


def stored(table: Integers, shift: int) -> NDArray[np.int64]:
    """A table as it is stored."""
    found: NDArray[np.int64] = np.asarray(table, np.int64) >> shift
    return found


def _tables(fire: Fire) -> list[NDArray[np.integer[Any]]]:
    return [table for table in (getattr(fire, name) for name in TABLES) if table is not None]
