"""Weights in the order in which the C code reads them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.export.layout import Bytes, Words


def pack_rows(codes: NDArray[np.integer[Any]], grid: str, bits: int) -> Words:
    """Codes [C_out, C_in, kh, kw] as bits in the order kernel row, kernel column, input, plane, output.

    An active input then adds neighbouring bits. What is packed is q >= 0: code = 2 q - (2^bits - 1), and on the grid
    "signed" code = q - 2^(bits - 1), so that one rule, A = factor sum(q x) - offset sum(x), serves all grids.
    """
    whole = codes.transpose(2, 3, 1, 0).astype(np.int32)
    q = whole + (1 << (bits - 1)) if grid == "signed" else (whole + (1 << bits) - 1) >> 1
    planes = np.stack([(q >> k) & 1 for k in range(bits)], axis=3).astype(np.uint8)
    return to_words(planes.reshape(-1))


def byte_rows(codes: NDArray[np.integer[Any]]) -> Bytes:
    """8-bit codes [C_out, C_in, kh, kw] in the order kernel row, kernel column, input, output."""
    rows: Bytes = codes.transpose(2, 3, 1, 0).reshape(-1).astype(np.int8)
    return rows


def to_words(bits: NDArray[np.uint8]) -> Words:
    """Bits (0 or 1) as 32-bit words, the first in the lowest bit, zeros at the end."""
    packed = np.packbits(bits, bitorder="little")
    whole = np.zeros((len(packed) + 3) // 4 * 4, np.uint8)
    whole[: len(packed)] = packed
    words: Words = whole.view("<u4").astype(np.uint32)
    return words
