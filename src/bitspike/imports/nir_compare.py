"""How near a NIR file comes to the integers where a tool reads its real values alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitspike.imports.nir_nodes import Clock, Placed, order_of
from bitspike.imports.nir_reference import run_node
from bitspike.nir.files import DEFAULT_DT, read_nir_file
from bitspike.nir.metadata import KEY
from bitspike.nir.nodes import input_unit
from bitspike.runtime import IntegerNet


@dataclass(frozen=True)
class LayerNearness:
    """firing: the share of neurons and steps with a spike in the integers; differing: where NIR has another value."""

    name: str
    firing: float
    differing: float


@dataclass(frozen=True)
class Nearness:
    """agreeing: the share of samples whose predicted class is the same; layers: in order of execution."""

    samples: int
    agreeing: float
    layers: tuple[LayerNearness, ...]
    classes: NDArray[np.int64]  # what the real values predict, [samples]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the single predictions."""
        return {key: value for key, value in asdict(self).items() if key != "classes"}


def compare_nir(
    source: str | Path | Any, net: IntegerNet, samples: NDArray[np.uint8], *, dt: float = DEFAULT_DT, batch: int = 64
) -> Nearness:
    """Run a NIR file, or its graph, by NIR's equations alone in float64, next to the integers it was made from."""
    graph = read_nir_file(source) if isinstance(source, str | Path) else source
    order, clock = order_of(graph), Clock(dt, "euler", "hard")
    told = {str(node.metadata[KEY]["name"]): name for name, node in graph.nodes.items() if KEY in node.metadata}
    entry = net.graph.input
    events = entry.kind == "events"
    count = samples.shape[1] if events else len(samples)
    if not {layer.name for layer in net.graph.spiking} <= set(told):
        raise ValueError("the graph was not made from this network; give the one that export_nir wrote of it")
    if not count:
        raise ValueError("there are no samples to compare on")
    spikes = {layer.name: 0.0 for layer in net.graph.spiking}
    others, sizes, predicted, same = dict(spikes), dict(spikes), [], 0
    for start in range(0, count, batch):
        part = samples[:, start : start + batch] if events else samples[start : start + batch]
        exact = net.spikes(part)
        values = _run(order, torch.from_numpy(exact[entry.name]).double() / input_unit(entry), clock)
        for name in spikes:
            integers = exact[name]
            spikes[name] += float(integers.sum())
            others[name] += float((values[told[name]].numpy() != integers).sum())
            sizes[name] += integers.size
        found = values[order[-1].sources[0]].sum(0).argmax(1).numpy()
        predicted.append(found)
        same += int((found == net.predict(part).argmax(1)).sum())
    layers = tuple(LayerNearness(name, spikes[name] / sizes[name], others[name] / sizes[name]) for name in spikes)
    return Nearness(count, same / count, layers, np.concatenate(predicted))


def _run(order: Sequence[Placed], entering: torch.Tensor, clock: Clock) -> dict[str, torch.Tensor]:
    """The value [T, B, ...] of every node but the output; nodes that several feed take the sum."""
    values = {order[0].name: entering}
    for place in order[1:-1]:
        given = sum((values[source] for source in place.sources[1:]), start=values[place.sources[0]])
        values[place.name] = run_node(place.name, place.node, given, clock)
    return values
