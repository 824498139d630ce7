"""From an integer graph to the flat program that the engine reads (c/program.c, field by field in the same order)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    Node,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
    WeightedSum,
)
from bitspike.integer.weight import GRIDS, Weight

MAGIC = 0x45505342
VERSION = 1
_KINDS = (Input, Spiking, Pool, Flatten, Readout)


class _Writer:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def words(self, *values: int) -> None:
        self.parts.append(struct.pack(f"<{len(values)}i", *values))

    def array(self, values: NDArray[np.integer[Any]] | tuple[int, ...]) -> None:
        """Words, counted."""
        flat = np.ascontiguousarray(np.asarray(values, dtype="<i4").reshape(-1))
        self.words(flat.size)
        self.parts.append(flat.tobytes())

    def octets(self, values: NDArray[np.uint8]) -> None:
        """Bytes, counted and padded to whole words."""
        raw = np.ascontiguousarray(values).tobytes()
        self.words(len(raw))
        self.parts.append(raw + bytes(-len(raw) % 4))


def program(graph: Graph) -> bytes:
    """The graph as the engine's flat program."""
    index = {node.name: number for number, node in enumerate(graph.nodes)}
    writer = _Writer()
    writer.words(MAGIC, VERSION, len(graph.nodes))
    for node in graph.nodes:
        writer.words(_KINDS.index(type(node)))
        _node(writer, node, index)
    return b"".join(writer.parts)


def _node(writer: _Writer, node: Node, index: dict[str, int]) -> None:
    match node:
        case Input():
            writer.words(int(node.kind == "events"), *node.shape, node.time_steps or 0, node.bound)
            writer.array(node.zero_point)
        case Spiking():
            writer.words(index[node.source])
            _operator(writer, node.operator)
            _fire(writer, node.fire)
            _skip(writer, node, index)
        case Pool():
            sizes = (0, 0) if node.kernel is None else node.kernel
            strides = (0, 0) if node.kernel is None else node.stride or node.kernel
            # A kind of its own, or the program of older networks, by which certificates know them, would be another.
            padding = node.padding if any(node.padding) else ()
            kind = int(node.kind == "sum") + (2 if padding else 0)
            writer.words(index[node.source], kind, *sizes, *strides, *padding)
        case Flatten():
            writer.words(index[node.source])
        case Readout():
            classes, features = node.weight.shape
            writer.words(index[node.source], classes, features)
            _weight(writer, node.weight)
            writer.array(node.bias)


def _operator(writer: _Writer, operator: WeightedSum) -> None:
    match operator:
        case Dense():
            writer.words(1, *operator.weight.shape)
        case Convolution():
            # A kind of its own, or the program of older networks, by which certificates know them, would be another.
            pooled = operator.largest
            windows = () if pooled is None else (*pooled.kernel, *pooled.stride)
            kind = 2 if windows else 0
            writer.words(kind, *operator.weight.shape, *operator.stride, *operator.padding, *windows)
    _weight(writer, operator.weight)


def _weight(writer: _Writer, weight: Weight) -> None:
    writer.words(GRIDS.index(weight.grid), weight.bits)
    writer.octets(weight.planes)


def _fire(writer: _Writer, fire: Fire) -> None:
    counts = fire.threshold.shape[1] - 1
    writer.words(fire.leak, fire.leak_exponent, fire.g, fire.levels, int(fire.reset == "soft"), int(fire.stochastic))
    seed, stream = np.array([fire.seed, fire.stream], dtype=np.uint32).astype(np.int32).tolist()
    writer.words(seed, stream, counts)
    writer.array(fire.threshold)
    writer.array(fire.rounding)
    if fire.rounding_fired is not None:
        writer.array(fire.rounding_fired)
    writer.array(fire.shift)


def _skip(writer: _Writer, node: Spiking, index: dict[str, int]) -> None:
    match node.skip:
        case None:
            writer.words(0)
        case PlainSkip() as skip:
            writer.words(1, index[skip.source], skip.stride, int(skip.channel_map is not None))
            if skip.channel_map is not None:
                writer.array(skip.channel_map)
        case WeightedSkip() as skip:
            writer.words(2, index[skip.source])
            _operator(writer, skip.operator)
            writer.array(skip.shift)
