"""A network's layers as plain JSON, read off the integer graph: what the int8 peer builds the same layers from."""

from __future__ import annotations

from typing import Any

from bitspike.integer.graph import (
    Convolution,
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


def layers_of(graph: Graph) -> list[dict[str, Any]]:
    """One table per node: kind, name, source, and the sizes of what it computes."""
    return [_layer(node) for node in graph.nodes]


def _layer(node: Input | Spiking | Pool | Flatten | Readout) -> dict[str, Any]:
    match node:
        case Input():
            return {"kind": "input", "name": node.name, "shape": list(node.shape)}
        case Spiking():
            layer = {"kind": "sum", "name": node.name, "source": node.source, **_operator(node.operator)}
            if isinstance(node.skip, PlainSkip):
                if node.skip.stride != 1 or node.skip.channel_map is not None:
                    raise ValueError(f"{node.name}: the int8 peer knows plain skips without stride and map only")
                layer["skip"] = {"source": node.skip.source}
            elif isinstance(node.skip, WeightedSkip):
                layer["skip"] = {"source": node.skip.source, **_operator(node.skip.operator)}
            return layer
        case Pool():
            kernel = None if node.kernel is None else list(node.kernel)
            stride = None if node.stride is None else list(node.stride)
            return {"kind": f"{node.kind} pool", "name": node.name, "source": node.source} | {
                "kernel": kernel,
                "stride": stride,
            }
        case Flatten():
            return {"kind": "flatten", "name": node.name, "source": node.source}
        case Readout():
            return {"kind": "readout", "name": node.name, "source": node.source, "weight": list(node.weight.shape)}


def _operator(operator: WeightedSum) -> dict[str, Any]:
    sizes: dict[str, Any] = {"weight": list(operator.weight.shape)}
    if isinstance(operator, Convolution):
        sizes |= {"stride": list(operator.stride), "padding": list(operator.padding)}
    return sizes
