"""Model sizes and footprints as the Q-SNN and QP-SNN papers count them, to compare with their tables.

Neither counts per-channel scales, thresholds or rounding constants, both keep batch norm at 32 bits, and
both may give a size that is not a whole number of bytes (bits are summed before the division by 8).
QP-SNN counts no membrane at all; Q-SNN counts that of the largest layer only. For the memory that a device
needs, use `bitspike.cost.memory`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from bitspike.cost.memory import check_batch
from bitspike.cost.rows import FLOAT_BITS, LayerCost


def qsnn_model_size(rows: Iterable[LayerCost]) -> float:
    """Bytes of the weights, biases and batch norm: Q-SNN's model size.

    Weights at their own bits (hidden 1, ends 8), the biases of the ends like their weights, hidden biases
    and batch norm at 32 bits. Left out: channel scales, membrane.
    """
    bits = 0
    for row in rows:
        bits += row.weights * row.weight_bits
        bits += row.biases * (row.weight_bits if row.end else FLOAT_BITS)
        bits += 2 * row.norms * FLOAT_BITS
    return bits / 8


def qsnn_footprint(rows: Sequence[LayerCost], *, batch: int = 1) -> float:
    """Bytes of Q-SNN's memory table: model size + batch * largest layer's membrane.

    Left out: channel scales, and the membrane of every layer but the largest.
    """
    check_batch(batch)
    membrane_bits = max((row.neurons * row.membrane_bits for row in rows), default=0)
    return qsnn_model_size(rows) + batch * membrane_bits / 8


def qpsnn_model_size(rows: Iterable[LayerCost], bits: int) -> float:
    """Bytes of QP-SNN's model size: hidden weights at `bits`; both ends, biases, batch norm at 32 bits.

    Left out: the scale of every layer, and the membrane, which that paper keeps in float.
    """
    if not 1 <= bits <= FLOAT_BITS:
        raise ValueError(f"bits is {bits}; allowed are 1 to {FLOAT_BITS} ({FLOAT_BITS} means float).")
    total = 0
    for row in rows:
        total += row.weights * (FLOAT_BITS if row.end else bits)
        total += (row.biases + 2 * row.norms) * FLOAT_BITS
    return total / 8


def kept_channels(channels: int, ratio: float) -> int:
    """Channels that stay when the share `ratio` of them is removed: floor(channels * (1 - ratio)).

    The removed number is rounded up, as QP-SNN does. The ratio counts as the fraction nearest to it with a denominator
    of at most a million, exactly, so that 0.9 of 10 channels leaves 1 and not 0, and two thirds of 3 leave 1.
    """
    if channels < 1 or not 0 <= ratio < 1:
        raise ValueError(
            f"channels is {channels} and ratio is {ratio}; give 1 or more channels and a ratio of at least 0 "
            "and below 1."
        )
    share = Fraction(ratio).limit_denominator(10**6)
    return math.floor(channels * (1 - share))
