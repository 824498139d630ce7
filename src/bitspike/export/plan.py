"""From a graph to the layout of its C export."""

from __future__ import annotations

import math

import numpy as np

from bitspike.export.arena import place_in_arena
from bitspike.export.layout import Answer, Layer, Map, Place, Plan, Skip, Step, Sum, Window, words_of
from bitspike.export.weights import byte_rows, pack_rows
from bitspike.integer.check import Value, check
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Flatten,
    Graph,
    Input,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
    WeightedSum,
)

_WORD, _BYTE = 32, 8
_WIDE = 4
"""Bits of an operand from which on multiplying bytes is less work than counting planes."""


def make_plan(graph: Graph) -> Plan:
    """The layout of a graph, with the arena filled; ValueError with the node's name where the graph cannot be run."""
    known = check(graph)
    plan = Plan(graph, [], [], {})
    for node in graph.nodes:
        if isinstance(node, Flatten):
            plan.values[node.name] = Place(plan.values[node.source].map, flat=True)
        elif isinstance(node, Readout):
            total = _sum(plan, Dense(node.weight), node.source, node.name)
            total.kept_bits = 0  # one place: nothing worth keeping
            plan.steps.append(Step(Answer(node, total), (total.source,), None))
        else:
            _add(plan, node, _map(known[node.name]))
    place_in_arena(plan)
    return plan


def _map(value: Value) -> Map:
    """Where values of that shape and range are kept; features are one place with many channels."""
    channels, height, width = (*value.shape, 1, 1)[:3]
    return Map(height, width, channels, int(value.range.low.min()), int(value.range.high.max()))


def _add(plan: Plan, node: Input | Spiking | Pool, made: Map) -> None:
    plan.maps.append(made)
    plan.values[node.name] = Place(
        len(plan.maps) - 1, flat=isinstance(node, Spiking) and isinstance(node.operator, Dense)
    )
    match node:
        case Input():
            made.is_frame, made.is_static = True, node.kind == "image" and node.time_steps != 1
        case Spiking():
            layer, reads = _layer(plan, node, made)
            plan.steps.append(Step(layer, reads, len(plan.maps) - 1))
        case Pool():
            place = plan.values[node.source]
            value = plan.maps[place.map]
            made.is_static = value.is_static
            kernel = node.kernel or (value.height, value.width)
            window = Window(node, place.map, kernel, node.stride or kernel)
            plan.steps.append(Step(window, (place.map,), len(plan.maps) - 1))


def _layer(plan: Plan, node: Spiking, made: Map) -> tuple[Layer, tuple[int, ...]]:
    total = _sum(plan, node.operator, node.source, node.name)
    total.places = made.places
    reads = [total.source]
    skip_sum: Sum | None = None
    skip: Skip | None = None
    if isinstance(node.skip, WeightedSkip):
        skip_sum = _sum(plan, node.skip.operator, node.skip.source, node.name)
        skip_sum.places = made.places
        reads.append(skip_sum.source)
    elif isinstance(node.skip, PlainSkip):
        skip = _plain_skip(plan, node.skip)
        reads.append(skip.source)
    bits = node.fire.levels.bit_length() + 1
    words = words_of(made.places * made.channels * bits)
    return Layer(node, total, skip_sum, skip, bits, words), tuple(reads)


def _sum(plan: Plan, operator: WeightedSum, source: str, name: str) -> Sum:
    """A weighted sum; a dense operator becomes the convolution whose kernel is as large as the map."""
    number = plan.values[source].map
    value = plan.maps[number]
    codes = operator.weight.codes
    stride, padding = (1, 1), (0, 0)
    if isinstance(operator, Convolution):
        stride, padding = operator.stride, operator.padding
    else:
        codes = codes.reshape(len(codes), value.channels, value.height, value.width)
    grid, bits = operator.weight.grid, operator.weight.bits
    if math.prod(codes.shape) * bits >= 1 << _WORD:
        raise ValueError(
            f"{name}: its weights have {math.prod(codes.shape) * bits} bits, beyond what 32 bits can count"
        )
    reach = max(-value.low, value.high)
    largest = int(np.abs(codes.astype(np.int64)).reshape(len(codes), -1).sum(1).max()) * reach
    as_bytes = grid == "signed" and bits == _BYTE and value.planes >= _WIDE
    return Sum(
        source=number,
        weights=byte_rows(codes) if as_bytes else pack_rows(codes, grid, bits),
        outputs=len(codes),
        bits=bits,
        kernel=(codes.shape[2], codes.shape[3]),
        stride=stride,
        padding=padding,
        factor=1 if grid == "signed" else 2,
        offset=1 << (bits - 1) if grid == "signed" else (1 << bits) - 1,
        # Counting is modulo 2^32 at most: A itself fits, so what is lost above does not matter.
        as_bytes=as_bytes,
        counters=min(_WORD, (((1 << bits) - 1) * reach * math.prod(codes.shape[1:])).bit_length()),
        kept_bits=min(_WORD, largest.bit_length() + 1) if value.is_static else 0,
        largest=operator.largest if isinstance(operator, Convolution) else None,
    )


def _plain_skip(plan: Plan, skip: PlainSkip) -> Skip:
    place = plan.values[skip.source]
    value = plan.maps[place.map]
    if not place.flat or value.places == 1:
        return Skip(place.map, 1 if place.flat else skip.stride, skip.channel_map)
    # Features count through channels, then rows, then columns; maps keep a place's channels together.
    positions = np.arange(value.places * value.channels).reshape(value.places, value.channels).T.reshape(-1)
    chosen = range(len(positions)) if skip.channel_map is None else skip.channel_map
    return Skip(place.map, 1, tuple(int(positions[at]) if at >= 0 else -1 for at in chosen))
