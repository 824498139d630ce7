"""Running a graph on the reference operations, in both orders.

Layer by layer: all T steps of a node at once. Step by step: one step of all nodes, with the membranes of all
layers kept. The results are equal, which the tests prove.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from bitspike.integer import ops
from bitspike.integer.graph import Flatten, Graph, Input, Node, Pool, Readout, Spiking


@dataclass
class State:
    """Everything a stream of steps carries on: membranes by layer, and the readout's running sum."""

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


def advance(graph: Graph, value: Tensor, state: State, record: dict[str, Tensor] | None = None) -> Tensor:
    """Feed frames [T, B, C, H, W] (any T >= 1) into a state; the readout's sum so far, [B, K] int64.

    record: filled with the spikes (or values) [T, B, ...] of every node by name.
    """
    values: dict[str, Tensor] = {}
    for node in graph.nodes:
        values[node.name] = _evaluate(node, value, values, state)
    if record is not None:
        record.update(values)
    state.steps += value.shape[0]
    gained = values[graph.readout.name].sum(0)
    if state.total is None:
        state.total = gained + torch.from_numpy(graph.readout.bias).to(torch.int64)
    else:
        state.total = state.total + gained
    return state.total


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
