"""Whole-number weights in two shapes: as codes, to compute with, and packed at their true bits, to keep and ship."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRIDS = ("binary", "odd", "signed")
MOST_BITS = {"binary": 1, "odd": 15, "signed": 16}
"""Codes fit int16; those of the odd grid reach 2^bits - 1."""


class Weight:
    """Weights of one layer, [C_out, C_in] or [C_out, C_in, kh, kw]; codes and planes are made from each other on use.

    grid "binary": code = 2 q - 1, q of 1 bit;  "odd": code = 2 q - (2^bits - 1);  "signed": two's complement.

    planes, uint8 [bits, ceil(n / 8)]: plane k holds bit k of every q in the order (kernel row, kernel column,
    input channel, output channel), eight to a byte, the first in the lowest bit; what is left of the last byte is zero.
    """

    def __init__(self, shape: tuple[int, ...], grid: str, bits: int, planes: NDArray[np.uint8]) -> None:
        if len(shape) not in (2, 4) or min(shape) < 1:
            raise ValueError(f"weights have shape {list(shape)}; allowed: [C_out, C_in] and [C_out, C_in, kh, kw]")
        if grid not in GRIDS or not (2 if grid == "odd" else 1) <= bits <= MOST_BITS[grid]:
            raise ValueError(
                f"weights lie on the grid {grid!r} of {bits} bits; "
                "allowed: binary of 1, odd of 2 to 15, signed of 1 to 16"
            )
        size = math.prod(shape)
        if planes.dtype != np.uint8 or planes.shape != (bits, (size + 7) // 8):
            raise ValueError(
                f"weights {list(shape)} of {bits} bits are packed in uint8 [{bits}, {(size + 7) // 8}]; "
                f"here is {planes.dtype} {list(planes.shape)}"
            )
        self.shape, self.grid, self.bits = shape, grid, bits
        self.planes = planes

    @staticmethod
    def of(codes: NDArray[np.integer[Any]]) -> Weight:
        """Codes on the narrowest grid that holds them: binary, else odd, else two's complement."""
        weight = Weight.__new__(Weight)
        weight.shape = codes.shape
        weight.grid, weight.bits = _narrowest(codes)
        if weight.bits > MOST_BITS[weight.grid]:
            raise ValueError(f"weights lie from {int(codes.min())} to {int(codes.max())}; allowed: -32768 to 32767")
        weight.__dict__["codes"] = codes.astype(np.int16 if weight.bits > 8 or weight._wide else np.int8)
        return weight

    @property
    def _wide(self) -> bool:
        """Whether codes need more than int8: odd codes of 8 bits reach 255."""
        return self.bits > 8 or (self.grid == "odd" and self.bits == 8)

    @cached_property
    def codes(self) -> NDArray[np.integer[Any]]:
        """int8, or int16 where they are larger, in the order of `shape`."""
        size = math.prod(self.shape)
        bits = np.unpackbits(self.planes, axis=1, count=size, bitorder="little")
        raw = np.zeros(size, np.int32)
        for k, plane in enumerate(bits):
            raw |= plane.astype(np.int32) << k
        signed = self.grid == "signed"
        codes = raw - ((raw >> (self.bits - 1)) << self.bits) if signed else 2 * raw - ((1 << self.bits) - 1)
        ordered = codes.reshape(*self.shape[2:], self.shape[1], self.shape[0])
        axes = (3, 2, 0, 1) if ordered.ndim == 4 else (1, 0)
        return np.ascontiguousarray(ordered.transpose(axes).astype(np.int16 if self._wide else np.int8))

    @cached_property
    def planes(self) -> NDArray[np.uint8]:
        """The packed form."""
        codes = self.codes.astype(np.int32)
        ordered = codes.transpose((2, 3, 1, 0) if codes.ndim == 4 else (1, 0)).reshape(-1)
        raw = ordered if self.grid == "signed" else (ordered + (1 << self.bits) - 1) >> 1
        packed = [np.packbits((raw >> k) & 1, bitorder="little") for k in range(self.bits)]
        return np.stack(packed)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.codes, dtype=dtype, copy=True if copy is None else copy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Weight):
            return NotImplemented
        same = (self.shape, self.grid, self.bits) == (other.shape, other.grid, other.bits)
        return same and bool(np.array_equal(self.planes, other.planes))

    __hash__ = None  # type: ignore[assignment]  # compared by value, holds arrays

    def __repr__(self) -> str:
        return f"Weight({list(self.shape)}, {self.grid}, {self.bits} bits)"


def _narrowest(codes: NDArray[np.integer[Any]]) -> tuple[str, int]:
    low, high = int(codes.min()), int(codes.max())
    if bool((codes & 1).all()):
        odd = max(abs(low), abs(high)).bit_length()
        if odd == 1:
            return "binary", 1
        # An odd grid of b bits ends at 2^b - 1; two's complement of b bits at 2^(b-1) - 1.
        if odd < _signed_bits(low, high):
            return "odd", odd
    return "signed", _signed_bits(low, high)


def _signed_bits(low: int, high: int) -> int:
    return max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length()) + 1
