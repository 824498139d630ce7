"""`import_nir`: a NIR graph as a network of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from bitspike.imports.building import Entrance, Samples, build
from bitspike.imports.layers import CannotImport
from bitspike.imports.nir_nodes import Clock, Placed, layer_of, order_of
from bitspike.imports.nir_reference import run_node
from bitspike.imports.or_pooling import as_max_pooling
from bitspike.imports.wiring import INPUT, Wired, as_chain
from bitspike.nir.files import DEFAULT_DT, read_nir_file
from bitspike.nir.metadata import KEY


def import_nir(
    source: str | Path | Any,
    time_steps: int,
    *,
    input_shape: Sequence[int] | None = None,
    dt: float = DEFAULT_DT,
    integration: str = "euler",
    reset: str = "hard",
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] = 1.0,
    bound: int | None = None,
    samples: Samples | None = None,
    seed: int = 0,
) -> nn.Module:
    """A network of blocks, at 32 bits, that gives the spikes of a NIR graph on a test batch.

    The graph is a chain of Conv2d, Linear, Affine, Scale, SumPool2d, AvgPool2d, Flatten, Threshold, LIF and IF; two
    nodes may feed one LIF or IF, as in residual blocks. What has no equal is refused by its name (ValueError).

    source: a file, or a graph of the `nir` package; input_shape: (C, H, W), where the Input node does not say it.
    dt: the length of a time step in the file's unit of time. snnTorch and SpikingJelly write files for 0.0001.
    integration: euler, v + dt / tau ((v_leak - v) + r i), or exponential, the equation's solution for a constant i.
    reset: hard, as NIR defines it; soft; or delayed, which is what a file of snnTorch's `Leaky` means by default.
    mean, bound: None is what a file of `export_nir` says of it, else a mean of 0. time_steps must be what it says.
    The other arguments are those of `import_torch`.
    """
    graph = read_nir_file(source) if isinstance(source, str | Path) else source
    clock = Clock(float(dt), integration, reset)
    if not hasattr(graph, "nodes") or not hasattr(graph, "edges"):
        raise TypeError(f"import_nir takes a file or a graph of the nir package, not {type(graph).__name__}")
    order = order_of(graph)
    said = np.ravel(order[0].node.input_type["input"]) if input_shape is None else input_shape
    shape = tuple(int(size) for size in said)
    if len(shape) not in (1, 3):
        raise CannotImport(order[0].name, f"takes inputs of shape {list(shape)}; give input_shape, (C, H, W)")
    told = _told_of(order[0].node, shape)
    if told.time_steps not in (None, time_steps):
        raise ValueError(
            f"time_steps is {time_steps}; the file is of a network that takes {told.time_steps}, give those"
        )
    if mean is None and bound is None:
        mean, bound = told.mean, told.bound
    entrance = Entrance.of(shape, time_steps, 0.0 if mean is None else mean, std, bound)
    batch = entrance.samples(samples, seed)
    value = entrance.seen_by_source(batch)
    value = value.flatten(2) if len(shape) == 1 or _begins_flat(order) else value
    nodes, last = _run(order, value, clock)
    return build(as_chain(nodes, last), entrance, batch, "nir")


def bound_told(file: str | Path) -> int | None:
    """The largest count that may enter the network of a file of `export_nir`; None where it does not say."""
    entry = order_of(read_nir_file(file))[0].node
    return _told_of(entry, tuple(np.ravel(entry.input_type["input"]))).bound


@dataclass(frozen=True)
class _Told:
    """What `export_nir` notes at the input: the mean of pixels from 0 to 1, or the bound of counts; and the steps."""

    mean: list[float] | None = None
    bound: int | None = None
    time_steps: int | None = None


def _told_of(node: Any, shape: Sequence[int]) -> _Told:
    """What the file says of its inputs; nothing, where that is unreadable."""
    told = node.metadata.get(KEY) if isinstance(node.metadata, dict) else None
    kind = told.get("kind") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(kind, str) or kind not in ("image", "events"):
        return _Told()
    steps, bound, zero = (told.get(key) for key in ("time_steps", "bound", "zero_point"))
    said = int(steps) if isinstance(steps, Integral) else None
    if kind == "events":
        return _Told(bound=int(bound) if isinstance(bound, Integral) else None, time_steps=said)
    if not isinstance(zero, np.ndarray) or zero.shape != (shape[0],) or zero.dtype.kind not in "iu":
        return _Told(time_steps=said)
    return _Told([int(value) / 255 for value in zero], time_steps=said)


def _run(order: Sequence[Placed], value: Tensor, clock: Clock) -> tuple[list[Wired], int]:
    """What every node gives of the input's values, and what it reads; and the number of the one that Output reads.

    Nodes fed by two read their sum.
    """
    nodes: list[Wired] = []
    numbers = {order[0].name: INPUT}

    def read(place: Placed) -> tuple[Tensor, int]:
        reads = tuple(numbers[source] for source in place.sources)
        given = [value if number == INPUT else nodes[number].result for number in reads]
        if len(given) == 1:
            return given[0], reads[0]
        if given[0].shape != given[1].shape:
            shapes = " and ".join(str(list(part.shape[2:])) for part in given)
            raise CannotImport(place.name, f"is fed by {' and '.join(place.sources)}, of shapes {shapes}")
        nodes.append(Wired(None, given[0] + given[1], reads))
        return nodes[-1].result, len(nodes) - 1

    for place in order[1:-1]:
        layer = layer_of(place.name, place.node, clock)
        given, number = read(place)
        try:
            result = run_node(place.name, place.node, given, clock)
        except RuntimeError as error:
            first, sizes = str(error).splitlines()[0], list(given.shape[2:])
            raise CannotImport(place.name, f"does not take values of shape {sizes}: {first}") from None
        if [other.name for other in order if set(other.sources) & set(place.sources)] == [place.name]:
            layer = as_max_pooling(layer, number, nodes)
        numbers[place.name] = len(nodes)
        nodes.append(Wired(layer, result, (number,)))
    return nodes, read(order[-1])[1]


def _begins_flat(order: Sequence[Placed]) -> bool:
    return any(type(p.node).__name__ in ("Linear", "Affine") for p in order if order[0].name in p.sources)
