"""The rows of a finished integer network, from its graph alone.

A graph has no batch norms any more. For the figures of its float form each spiking layer counts as having had one, as
the package's own models have, and no bias besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitspike.cost.activity import LayerActivity, layer_activity
from bitspike.cost.rows import FLOAT_BITS, LayerCost
from bitspike.integer.check import Value, check
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Integers,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
)
from bitspike.integer.tables import stored, table_shift
from bitspike.integer.weight import Weight


@dataclass(frozen=True)
class Rates:
    """Mean values per position and step of one layer's operand, skip operand and result."""

    source: float
    skip: float | None
    result: float


def describe_graph(graph: Graph, rates: Mapping[str, Rates] | None = None) -> list[LayerCost]:
    """One row per weighted layer, in order of execution; a convolved skip is a row of its own."""
    values = check(graph)
    pixels = _pixels(graph)
    rows: list[LayerCost] = []
    for node in graph.nodes:
        rate = (rates or {}).get(node.name)
        if isinstance(node, Spiking):
            rows += _spiking_rows(node, values[node.name], rate, pixels, first=not rows)
        elif isinstance(node, Readout):
            rows.append(_readout_row(node, rate, static=node.source in pixels))
    return rows


def activity_of_graph(graph: Graph, rates: Mapping[str, Rates]) -> list[LayerActivity]:
    """Firing rate, balance of signs and their entropies of every spiking layer."""
    return [layer_activity(node.name, rates[node.name].result, node.operator.weight.codes) for node in graph.spiking]


def narrowest(values: Integers) -> int:
    """Bytes of an array at the narrowest of 8, 16 and 32 bits that holds all its values."""
    if values.size == 0:
        return 0
    low, high = int(values.min()), int(values.max())
    for width, limit in ((1, 1 << 7), (2, 1 << 15)):
        if -limit <= low and high < limit:
            return width * values.size
    return 4 * values.size


def bytes_of(fire: Fire) -> int:
    """Bytes of a spiking layer's per-channel integers, those in fixed point without the zeros that they end with."""
    tables = (fire.threshold, fire.rounding, fire.rounding_fired)
    shift = table_shift(fire)
    return narrowest(fire.shift) + sum(narrowest(stored(table, shift)) for table in tables if table is not None)


def sums_of_windows(windows: Sequence[int], kernel: Sequence[int], stride: Sequence[int]) -> int:
    """How many sums so many windows of them see each way, each counted once where windows overlap."""
    return math.prod((windows[i] - 1) * min(stride[i], kernel[i]) + kernel[i] for i in range(2))


def _pixels(graph: Graph) -> set[str]:
    """Nodes that give pixels, the same in every step: an image, and what only pools or flattens it."""
    found = {graph.input.name} if graph.input.kind == "image" else set()
    for node in graph.nodes:
        if isinstance(node, Pool | Flatten) and node.source in found:
            found.add(node.name)
    return found


def _spiking_rows(node: Spiking, value: Value, rate: Rates | None, pixels: Set[str], *, first: bool) -> list[LayerCost]:
    fire, weight = node.fire, node.operator.weight
    positions = math.prod(value.shape[1:])
    static = node.source in pixels
    pooled = node.operator.largest if isinstance(node.operator, Convolution) else None
    sums = positions if pooled is None else sums_of_windows(value.shape[1:], pooled.kernel, pooled.stride)
    main = LayerCost(
        name=node.name,
        kind="linear" if isinstance(node.operator, Dense) else "conv",
        end=first,
        weights=math.prod(weight.shape),
        weight_bits=weight.bits,
        biases=0,
        norms=value.shape[0],
        neurons=math.prod(value.shape),
        membrane_bits=fire.levels.bit_length() + 1,
        macs=math.prod(weight.shape) * sums,
        static_input=static,
        # Pixels are no spikes: a layer that reads them has no input rate.
        input_rate=None if rate is None or static else rate.source,
        output_rate=None if rate is None else rate.result,
        integer_bytes=bytes_of(fire),
        **_levels(weight),
    )
    if not isinstance(node.skip, WeightedSkip):
        return [main]
    weight, static = node.skip.operator.weight, node.skip.source in pixels
    side = LayerCost(
        name=f"{node.name}.skip",
        kind="skip",
        end=False,
        weights=math.prod(weight.shape),
        weight_bits=weight.bits,
        biases=0,
        norms=0,
        neurons=0,
        membrane_bits=main.membrane_bits,
        macs=math.prod(weight.shape) * positions,
        static_input=static,
        input_rate=None if rate is None or static else rate.skip,
        integer_bytes=narrowest(node.skip.shift),
        **_levels(weight),
    )
    return [main, side]


def _readout_row(node: Readout, rate: Rates | None, *, static: bool) -> LayerCost:
    weights = math.prod(node.weight.shape)
    return LayerCost(
        name=node.name,
        kind="readout",
        end=True,
        weights=weights,
        weight_bits=node.weight.bits,
        biases=len(node.bias),
        norms=0,
        neurons=0,
        membrane_bits=FLOAT_BITS,
        macs=weights,
        static_input=static,
        input_rate=None if rate is None or static else rate.source,
        integer_bytes=narrowest(node.bias),
        **_levels(node.weight),
    )


def _levels(weight: Weight) -> dict[str, Any]:
    """A row's fields about the levels of the grid; signed codes are taken to be symmetric, -n to n, if they are."""
    used = len(np.unique(weight.codes))
    levels = 2**weight.bits - (weight.grid == "signed")
    return {"levels": max(levels, used), "levels_used": used}
