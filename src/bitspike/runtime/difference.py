"""Where two executions of a network differ first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Flatten, Graph, Input, Spiking


@dataclass
class Watched:
    """All that a run came to.

    values      int32 [T, B, ...] of the nodes, by name
    membranes   int32 [T, B, ...] as stored after every step, by name of the spiking layer
    logits      each int64 [S, B, K], after the last S steps; one for every way in which they were asked for
    """

    values: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    membranes: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    logits: list[NDArray[np.int64]] = field(default_factory=list)


@dataclass(frozen=True)
class Difference:
    """One number that is not what the reference has. Everything is counted from 0.

    runner, kernel, order   who came to it, and how
    what     "spike", "value" (of a pool, a sum), "membrane" or "logit"
    layer    the node's name;  step, sample;  neuron: channel, y, x, or one number where there are no pixels
    """

    runner: str
    kernel: str
    order: str
    what: str
    layer: str
    step: int
    sample: int
    neuron: tuple[int, ...]
    expected: int
    found: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "neuron": list(self.neuron)}

    def __str__(self) -> str:
        names = ("channel", "y", "x") if len(self.neuron) == 3 else ("class" if self.what == "logit" else "neuron",)
        place = ", ".join(f"{name} {number}" for name, number in zip(names, self.neuron, strict=True))
        kernel = f", kernel {self.kernel}" if self.kernel else ""
        return (
            f"{self.runner}{kernel}, in the order of {self.order}: layer {self.layer}, step {self.step}, "
            f"sample {self.sample}, {place}: the {self.what} is {self.found}, the reference has {self.expected}"
        )


class DifferenceFound(Exception):
    """What shall be equal is not; `difference` says where first."""

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


@dataclass(frozen=True)
class Place:
    """The first number that differs: what it is, of which node, its index [T, B, ...], and both values."""

    what: str
    layer: str
    index: tuple[int, ...]
    expected: int
    found: int


def first_difference(graph: Graph, expected: Watched, found: Watched) -> Place | None:
    """None where all is equal. The node that comes first in the graph is named, since the others may only follow it.

    Within a node the earliest step counts; in a step the spike goes before the membrane that is left of it.
    """
    computed = _computed(graph)
    for node in graph.nodes:
        name = node.name
        places = []
        if name in found.values or name in computed:
            what = "spike" if isinstance(node, Spiking) else "value"
            places.append(_first(what, name, expected.values[name], found.values.get(name)))
        # Who records membranes at all records all of them.
        if isinstance(node, Spiking) and found.membranes:
            places.append(_first("membrane", name, expected.membranes[name], found.membranes.get(name)))
        seen = [place for place in places if place is not None]
        if seen:
            return min(seen, key=lambda place: place.index[0])  # the spike, if both are of the same step
    for logits in found.logits:
        steps = len(expected.logits[0])
        if not 1 <= len(logits) <= steps:
            raise RuntimeError(f"logits after {len(logits)} of {steps} steps were given")
        place = _first("logit", graph.readout.name, expected.logits[0][-len(logits) :], logits)
        if place is not None:
            step = place.index[0] + steps - len(logits)
            return Place(place.what, place.layer, (step, *place.index[1:]), place.expected, place.found)
    return None


def _computed(graph: Graph) -> set[str]:
    """Nodes that compute anything; the input, and the input flattened, need not be recorded."""
    given: set[str] = set()
    for node in graph.nodes:
        if isinstance(node, Input) or (isinstance(node, Flatten) and node.source in given):
            given.add(node.name)
    return {node.name for node in graph.nodes} - given


def _first(what: str, layer: str, expected: NDArray[Any], found: NDArray[Any] | None) -> Place | None:
    if found is None or found.shape != expected.shape:
        shape: Sequence[int] | None = None if found is None else list(found.shape)
        raise RuntimeError(f"the {what}s of {layer} have shape {shape}; the reference has {list(expected.shape)}")
    if np.array_equal(expected, found):
        return None
    index = tuple(int(number) for number in np.argwhere(expected != found)[0])
    return Place(what, layer, index, int(expected[index]), int(found[index]))
