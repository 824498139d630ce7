"""A graph as plain data for a header, and its arrays as named tensors at the narrowest width."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.container import Tensors
from bitspike.integer.graph import (
    Convolution,
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
from bitspike.integer.tables import TABLES, narrow, stored, table_shift
from bitspike.integer.weight import Weight


def to_plain(graph: Graph) -> tuple[list[dict[str, Any]], Tensors]:
    """The nodes as objects of a header, and the tensors that they name."""
    writer = _Writer()
    return [writer.node(node) for node in graph.nodes], writer.tensors


class _Writer:
    """Turns nodes into objects and collects their tensors, named "node/part"."""

    def __init__(self) -> None:
        self.tensors: Tensors = {}

    def node(self, node: Node) -> dict[str, Any]:
        found: dict[str, Any] = {"node": type(node).__name__.lower(), "name": node.name}
        match node:
            case Input():
                zero = self.keep(node, "zero_point", np.array(node.zero_point, np.int64))
                return found | _rest(node, "zero_point") | {"shape": list(node.shape), "zero_point": zero}
            case Spiking():
                operator = self.operator(node, "", node.operator)
                skip = {"skip": self.skip(node), "fire": self.fire(node, node.fire)}
                return found | {"source": node.source, "operator": operator} | skip
            case Pool():
                found |= _rest(node, "padding") | {"kernel": _pair(node.kernel), "stride": _pair(node.stride)}
                return found | ({"padding": list(node.padding)} if any(node.padding) else {})
            case Flatten():
                return found | _rest(node)
            case Readout():
                weight = self.weight(node, "weight", node.weight)
                return found | _rest(node, "weight") | {"weight": weight, "bias": self.keep(node, "bias", node.bias)}
        raise ValueError(f"{node!r} is no node of an integer graph")

    def keep(self, node: Node, part: str, values: NDArray[np.integer[Any]]) -> str:
        name = f"{node.name}/{part}"
        self.tensors[name] = narrow(np.asarray(values))
        return name

    def weight(self, node: Node, part: str, weight: Weight) -> dict[str, Any]:
        name = f"{node.name}/{part}"
        self.tensors[name] = weight.planes
        return {"planes": name, "shape": list(weight.shape), "grid": weight.grid, "bits": weight.bits}

    def operator(self, node: Node, prefix: str, operator: WeightedSum) -> dict[str, Any]:
        found: dict[str, Any] = {"operator": type(operator).__name__.lower()}
        found["weight"] = self.weight(node, f"{prefix}weight", operator.weight)
        if isinstance(operator, Convolution):
            found |= {"stride": list(operator.stride), "padding": list(operator.padding)}
            if (largest := operator.largest) is not None:
                found["largest"] = {"kernel": list(largest.kernel), "stride": list(largest.stride)}
        return found

    def skip(self, node: Spiking) -> dict[str, Any] | None:
        skip = node.skip
        if isinstance(skip, PlainSkip):
            channels = skip.channel_map
            named = None if channels is None else self.keep(node, "skip.channel_map", np.array(channels, np.int64))
            found = {"skip": "plain", "source": skip.source, "stride": skip.stride}
            return found | {"channel_map": named, "bound": skip.bound}
        if isinstance(skip, WeightedSkip):
            operator = self.operator(node, "skip.", skip.operator)
            shift = self.keep(node, "skip.shift", skip.shift)
            return {"skip": "weighted", "source": skip.source, "operator": operator, "shift": shift}
        return None

    def fire(self, node: Spiking, fire: Fire) -> dict[str, Any]:
        found = {item.name: getattr(fire, item.name) for item in fields(fire)}
        shift = table_shift(fire)
        for part in (*TABLES, "shift"):
            if found[part] is not None:
                found[part] = self.keep(node, part, found[part] if part == "shift" else stored(found[part], shift))
        return found | ({"table_shift": shift} if shift else {})


def _rest(node: Node, *but: str) -> dict[str, Any]:
    """The fields of a node that are plain already."""
    return {item.name: getattr(node, item.name) for item in fields(node) if item.name not in ("name", *but)}


def _pair(value: tuple[int, int] | None) -> list[int] | None:
    return None if value is None else list(value)
