"""CPU time layer by layer before and after, in turns, and what the width of vectors lets one expect of it."""

from __future__ import annotations

import statistics
from typing import Any

from _inference.equality import engine_builds
from _pruning.networks import Pair
from _shared.rows import significant
from bitspike.integer.graph import Convolution, Graph, Node, Spiking
from bitspike.integer.shapes import shapes

PROFILED = 3
"""Calls of one image in one round; the first, unmeasured one comes on top."""
VECTOR_BITS = {"avx512": 512, "avx512f": 512, "avx2": 256, "neon": 128, "baseline": 128}


def layer_times(pair: Pair, rounds: int) -> list[dict[str, Any]]:
    """One table per node: milliseconds before and after, medians over rounds that go round the images."""
    builds = engine_builds()
    if not builds:
        return []
    from bitspike.engine import Engine

    parts = (pair.before, pair.after)
    engines = [Engine(part.graph, build=builds[0]) for part in parts]
    seen: list[list[dict[str, float]]] = [[], []]
    for number in range(rounds):
        order = (0, 1) if number % 2 == 0 else (1, 0)
        for i in order:
            seen[i].append(engines[i].profile(parts[i].samples[number % len(parts[i].samples)], PROFILED))
    bits = VECTOR_BITS[builds[0]]
    tables = []
    for before, after in zip(pair.before.graph.nodes, pair.after.graph.nodes, strict=True):
        whole, small = (1e3 * statistics.median(one[before.name] for one in times) for times in seen)
        table: dict[str, Any] = {"case": pair.subject.case, "layer": before.name}
        if isinstance(before, Spiking) and isinstance(after, Spiking):
            table |= {"channels_before": _outputs(before), "channels_after": _outputs(after)}
        table |= {"before_ms": significant(whole), "after_ms": significant(small)}
        table["ratio"] = significant(whole / small) if small > 0 else None
        rows = _rows(before, pair.before.graph, bits), _rows(after, pair.after.graph, bits)
        if rows[0] and rows[1]:
            table["counting_ratio"] = significant(rows[0] / rows[1])
        tables.append(table)
    return tables


def why_not_four(tables: list[dict[str, Any]], build: str) -> str:
    """The sentence that goes with a quarter of the operations."""
    ratios = [table["counting_ratio"] for table in tables if "counting_ratio" in table]
    return (
        "Half of the inputs gone is half of the rows to add, but half of the outputs gone is not half of the work on "
        f"them: a vector of {VECTOR_BITS[build]} bits holds all channels of one or of several neighbouring pixels, an "
        "active input adds one row to all of them, and a vector with twice the pixels sees more columns of inputs; so "
        f"counting falls by {min(ratios):.3g} to {max(ratios):.3g} and not by 4, the membranes and what every window "
        "costs by 2 (a layer of 32 channels or fewer: by nothing), and the first layer, whose inputs are the image's "
        "colours, by 2 at most."
    )


def rows_per_pixel(channels: int, vector_bits: int, kernel: int, stride: int, width: int) -> float:
    """Columns of inputs whose rows of weights are read for one output pixel: what counting costs beside the inputs.

    A vector holds several neighbouring pixels of few channels (32, 64, 128, 256, then whole vectors). It sees every
    column that any of them sees, and an active input adds its row for all of them at once.
    """
    room = next((size for size in (32, 64, 128, 256) if channels <= size), -(-channels // vector_bits) * vector_bits)
    vectors = -(-room // vector_bits)
    group = min(max(1, vector_bits // room), width)
    return vectors * ((group - 1) * stride + kernel) / group


def _rows(node: Node, graph: Graph, vector_bits: int) -> float | None:
    """Proportional to the rows that a layer adds at a given firing rate; None where it counts no spikes."""
    if not isinstance(node, Spiking) or not isinstance(node.operator, Convolution) or node.source == graph.input.name:
        return None
    outputs, inputs, _, kernel = node.operator.weight.shape
    width = shapes(graph)[node.name][-1]
    return inputs * rows_per_pixel(outputs, vector_bits, kernel, node.operator.stride[1], width)


def _outputs(node: Spiking) -> int:
    return int(node.operator.weight.shape[0])
