"""Memory of a network, counted as it is shipped, under both conventions for the membrane.

    weights     ceil(weights * weight_bits / 8) of every layer, packed
    channels    per-channel integers; in a float layer its biases and batch norm (2 per channel) at 32 bits
    membrane    ceil(neurons * membrane_bits / 8) of every layer, times the batch
    total       weights + channels + membrane of ALL layers: what a device that works step by step holds
    total_largest   the same with the membrane of the largest layer only: enough where a layer runs through
                all its time steps before the next begins

"Total memory" without more words is `total` at batch 1. Left out: input and spike buffers, the readout's
running sums (one 32-bit integer a class), the skip's spikes kept until its join, program code, file header.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bitspike.cost.rows import FLOAT_BITS, LayerCost


@dataclass(frozen=True)
class LayerMemory:
    """Bytes of one layer: packed weights, per-channel values, membrane of the whole batch."""

    name: str
    weights: int
    channels: int
    membrane: int

    @property
    def total(self) -> int:
        """All three together."""
        return self.weights + self.channels + self.membrane


@dataclass(frozen=True)
class Memory:
    """Bytes of a network at one batch size; the module's docstring says what is counted."""

    weights: int
    channels: int
    membrane_all: int
    membrane_largest: int
    batch: int

    @property
    def model(self) -> int:
        """Weights and per-channel values: what is stored, without any state."""
        return self.weights + self.channels

    @property
    def total(self) -> int:
        """Everything, with the membrane of all layers resident."""
        return self.model + self.membrane_all

    @property
    def total_largest(self) -> int:
        """Everything, with the membrane of the largest layer only."""
        return self.model + self.membrane_largest

    def to_dict(self) -> dict[str, Any]:
        """Plain data, sums included."""
        sums = {"model": self.model, "total": self.total, "total_largest": self.total_largest}
        return asdict(self) | sums


def _packed_bytes(count: int, bits: int) -> int:
    return -(-count * bits // 8)


def check_batch(batch: int) -> None:
    """Refuse a batch below one."""
    if batch < 1:
        raise ValueError(f"batch is {batch}; give 1 or more images.")


def layer_memory(row: LayerCost, *, batch: int = 1) -> LayerMemory:
    """Bytes of one layer.

    A layer with per-channel integers has folded its biases and batch norm into them; one without still
    holds both as 32-bit numbers.
    """
    check_batch(batch)
    unfolded = (row.biases + 2 * row.norms) * FLOAT_BITS // 8
    return LayerMemory(
        name=row.name,
        weights=_packed_bytes(row.weights, row.weight_bits),
        channels=row.integer_bytes or unfolded,
        membrane=batch * _packed_bytes(row.neurons, row.membrane_bits),
    )


def memory(rows: Iterable[LayerCost], *, batch: int = 1) -> Memory:
    """Bytes of the whole network under both conventions."""
    check_batch(batch)
    layers = [layer_memory(row, batch=batch) for row in rows]
    return Memory(
        weights=sum(layer.weights for layer in layers),
        channels=sum(layer.channels for layer in layers),
        membrane_all=sum(layer.membrane for layer in layers),
        membrane_largest=max((layer.membrane for layer in layers), default=0),
        batch=batch,
    )


def as_float(rows: Sequence[LayerCost]) -> list[LayerCost]:
    """The same network before quantization: 32-bit weights and state, batch norm and biases not folded."""
    return [replace(row, weight_bits=FLOAT_BITS, membrane_bits=FLOAT_BITS, integer_bytes=0) for row in rows]
