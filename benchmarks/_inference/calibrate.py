"""Bring every spiking layer of an integer network to a firing rate by moving its thresholds, and nothing else.

All thresholds of a layer move by one whole number, or by it and one more in the channels first in line, found by
bisection on the layer's sums; the layers behind see the spikes that result. What else the integers are (shifts,
rounding, leaks, grids) stays as lowering made it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitspike.integer import ops, run
from bitspike.integer.graph import (
    Fire,
    Flatten,
    Graph,
    Input,
    Integers,
    Node,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
)

INT32 = np.iinfo(np.int32)
FARTHEST = 1 << 40


def calibrated(
    graph: Graph, samples: NDArray[np.uint8], rates: float | Mapping[str, float]
) -> tuple[Graph, dict[str, float]]:
    """The graph with its layers at the rates (one for all, or by layer), and the rates it then has on the samples."""
    wanted = rates if isinstance(rates, Mapping) else {node.name: rates for node in graph.spiking}
    for name, rate in wanted.items():
        if not 0 < rate < 1:
            raise ValueError(f"{name} is to fire at {rate}; allowed: between 0 and 1")
    values: dict[str, Tensor] = {}
    reached: dict[str, float] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        moved: Node = node
        match node:
            case Input():
                values[node.name] = run.frames(graph, torch.from_numpy(samples))
            case Spiking():
                moved, values[node.name] = at_rate(node, values, wanted[node.name])
                reached[node.name] = float(values[node.name].double().mean())
            case Pool():
                values[node.name] = ops.pool(values[node.source], node)
            case Flatten():
                values[node.name] = values[node.source].flatten(2)
            case Readout():
                pass
        nodes.append(moved)
    return Graph(tuple(nodes)), reached


def at_rate(node: Spiking, values: Mapping[str, Tensor], rate: float) -> tuple[Spiking, Tensor]:
    """One layer with its thresholds moved to the rate, and its spikes."""
    current, count = currents(node, values)

    def spikes_at(offset: int) -> Tensor:
        return fired(current, count, moved(node.fire, offset))

    offset = nearest_offset(lambda offset: float(spikes_at(offset).double().mean()), rate)
    return replace(node, fire=moved(node.fire, offset)), spikes_at(offset)


def nearest_offset(rate_at: Callable[[int], float], rate: float) -> int:
    """The whole number that brings a falling function nearest to the rate."""
    if rate_at(0) >= rate:
        low, high = 0, 1
        while rate_at(high) >= rate and high < FARTHEST:
            low, high = high, 2 * high
    else:
        low, high = -1, 0
        while rate_at(low) < rate and low > -FARTHEST:
            low, high = 2 * low, low
    while high - low > 1:
        middle = (low + high) // 2
        if rate_at(middle) >= rate:
            low = middle
        else:
            high = middle
    return low if abs(rate_at(low) - rate) <= abs(rate_at(high) - rate) else high


def currents(node: Spiking, values: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """What a layer's membranes integrate, [T, B, ...], and the plain skip's spikes or counts."""
    value = values[node.source]
    total = ops.weighted_sum(value, node.operator) << _spread(node.fire.shift, value)
    count: Tensor | None = None
    if isinstance(node.skip, PlainSkip):
        count = ops.plain_skip(values[node.skip.source], node.skip.stride, node.skip.channel_map)
    elif isinstance(node.skip, WeightedSkip):
        side = ops.weighted_sum(values[node.skip.source], node.skip.operator)
        total = total + (side << _spread(node.skip.shift, value))
    return total, count


def fired(current: Tensor, count: Tensor | None, fire: Fire) -> Tensor:
    """The spikes of all steps, from a membrane at rest."""
    potential = torch.zeros_like(current[0])
    steps = []
    for t, now in enumerate(current):
        spikes, potential = ops.fire_step(now, potential, None if count is None else count[t], fire, t)
        steps.append(spikes)
    return torch.stack(steps)


def moved(fire: Fire, offset: int) -> Fire:
    """The layer with its thresholds moved by `offset` in sum over the channels, as evenly as whole numbers go."""
    channels = len(fire.threshold)
    share = (offset + np.arange(channels, dtype=np.int64)) // channels
    threshold = np.clip(fire.threshold.astype(np.int64) + share[:, None], INT32.min, INT32.max)
    return replace(fire, threshold=threshold.astype(fire.threshold.dtype))


def _spread(shift: Integers, like: Tensor) -> Tensor:
    per_channel = torch.as_tensor(shift.astype(np.int32))
    return per_channel.reshape(-1, 1, 1) if like.dim() == 5 else per_channel
