"""Running a graph on the reference operations, in both orders.

Layer by layer: all T steps of a node at once. Step by step: one step of all nodes, with the membranes of all
layers kept. The results are equal, which the tests prove.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from bitspike.integer import ops
from bitspike.integer.graph import Flatten, Graph, Input, Node, Pool, Readout, Spiking

Watch: TypeAlias = Callable[[str, Tensor], None]


@dataclass
class State:
    """Everything a stream of steps carries on: membranes by layer, and the readout's running sum."""

    graph: Graph | None = None  # the network whose state this is
    membranes: dict[str, ops.Membrane] = field(default_factory=dict)
    total: Tensor | None = None
    steps: int = 0


def frames(graph: Graph, samples: Tensor) -> Tensor:
    """uint8 samples as the integers [T, B, C, H, W] that the first layer reads; images expanded over T."""
    node = graph.input
    centred = ops.center(samples, node)
    if node.kind == "image":
        return centred.expand(node.time_steps or 1, *centred.shape)
    return centred


def advance(graph: Graph, value: Tensor, state: State, watch: Watch | None = None) -> Tensor:
    """Feed frames [T, B, C, H, W] (any T >= 1) into a state; the readout's sum so far, [B, K] int64.

    watch: called with the name and the values [T, B, ...] of every node, in order. A node's values are let go after
    their last reader.
    """
    last_reader = {source: node.name for node in graph.nodes for source in _sources(node)}
    values: dict[str, Tensor] = {}
    for node in graph.nodes:
        values[node.name] = _evaluate(node, value, values, state)
        if watch is not None:
            watch(node.name, values[node.name])
        for source in _sources(node):
            if last_reader[source] == node.name:
                values.pop(source, None)
    state.steps += value.shape[0]
    gained = values[graph.readout.name].sum(0)
    if state.total is None:
        state.total = gained + torch.from_numpy(graph.readout.bias).to(torch.int64)
    else:
        state.total = state.total + gained
    return state.total


def _sources(node: Node) -> tuple[str, ...]:
    if isinstance(node, Input):
        return ()
    if isinstance(node, Spiking) and node.skip is not None:
        return (node.source, node.skip.source)
    return (node.source,)


def _evaluate(node: Node, frames: Tensor, values: dict[str, Tensor], state: State) -> Tensor:
    match node:
        case Input():
            return frames
        case Spiking():
            skip = None if node.skip is None else values[node.skip.source]
            spikes, membrane = ops.spiking(values[node.source], skip, node, state.membranes.get(node.name))
            state.membranes[node.name] = membrane
            return spikes
        case Pool():
            return ops.pool(values[node.source], node)
        case Flatten():
            return values[node.source].flatten(2)
        case Readout():
            return ops.readout(values[node.source], node)
