"""NIR's nodes as layers, and the order in which a graph runs. Told by the names of their classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitspike.imports.layers import (
    CannotImport,
    Flattening,
    Layer,
    Neuron,
    Pooling,
    Scaling,
    Weighted,
    refuse_not_finite,
)

INTEGRATIONS = ("euler", "exponential")
RESETS = ("hard", "soft", "delayed")
_SIMPLEST = 1000
_ONE, _ZERO = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)


@dataclass(frozen=True)
class Clock:
    """How a node's differential equation becomes steps, which NIR does not say.

    dt: a step's length in the file's unit of time. integration: euler (leak = 1 - dt / tau) or exponential
    (exp(-dt / tau)). reset: hard (NIR's own equation), soft (the threshold is subtracted), delayed (one step later,
    behind the leak, as snnTorch does).
    """

    dt: float
    integration: str
    reset: str

    def __post_init__(self) -> None:
        if not 0 < self.dt < float("inf"):
            raise ValueError(f"dt is {self.dt}; it is the length of a time step, a positive number")
        if self.integration not in INTEGRATIONS:
            raise ValueError(f"integration is {self.integration!r}; allowed: {', '.join(INTEGRATIONS)}")
        if self.reset not in RESETS:
            raise ValueError(f"reset is {self.reset!r}; allowed: {', '.join(RESETS)}")


@dataclass(frozen=True)
class Placed:
    """A node of a graph and the names of the nodes that feed it: one, or two whose outputs it gets the sum of."""

    name: str
    node: Any
    sources: tuple[str, ...]


def order_of(graph: Any) -> list[Placed]:
    """The nodes of a graph from its input to its output, each behind those that feed it; refused where none is."""
    before: dict[str, list[str]] = {name: [] for name in graph.nodes}
    fed: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        for name in (source, target):
            if name not in before:
                raise CannotImport(str(name), "is named by an edge, but the graph holds no such node")
        before[target].append(source)
        fed[source].append(target)
    first, last = (_only(graph, kind) for kind in ("Input", "Output"))
    if before[first] or fed[last]:
        raise CannotImport(
            first if before[first] else last,
            "is in the middle of the graph; nothing feeds an Input, nor is fed by an Output",
        )
    order: list[Placed] = []
    ready, waits = [first], {name: len(sources) for name, sources in before.items()}
    while ready:
        at = ready.pop(0)
        if len(before[at]) > 2:
            raise CannotImport(at, f"is fed by {' and '.join(before[at])}; two can be added, no more")
        order.append(Placed(at, graph.nodes[at], tuple(before[at])))
        for name in fed[at]:
            waits[name] -= 1
            if waits[name] == 0:
                ready.append(name)
    done = {item.name for item in order}
    for name in graph.nodes:  # in a circle, or behind one
        if name not in done and len(before[name]) > 1 and done & set(before[name]):
            raise CannotImport(name, f"is fed by {' and '.join(before[name])}; recurrences cannot be imported")
    if last not in done or len(order) != len(graph.nodes):
        apart = sorted(set(graph.nodes) - done)
        raise CannotImport(", ".join(apart), "is not on the way from the input to the output")
    order = [item for item in order if item.name != last]
    return [*order, Placed(last, graph.nodes[last], tuple(before[last]))]


def _only(graph: Any, kind: str) -> str:
    names = [str(name) for name, node in graph.nodes.items() if type(node).__name__ == kind]
    if len(names) != 1:
        raise CannotImport("", f"has {len(names)} {kind} nodes; it needs exactly one")
    return names[0]


def layer_of(name: str, node: Any, clock: Clock) -> Layer:
    """What a node is; refused by name where it is nothing that blocks can be."""
    kind = type(node).__name__
    reader = _NODES.get(kind)
    if reader is None:
        raise CannotImport(name, f"is a {kind}, {_WHY_NOT.get(kind, 'which bitspike cannot import')}")
    return refuse_not_finite(reader(name, node, clock))


_WHY_NOT = {
    "CubaLIF": "whose synaptic current is a second state that blocks do not have; export a LIF instead",
    "CubaLI": "whose potential is read and not its spikes; end with a Linear or an Affine",
    "LI": "whose potential is read and not its spikes; end with a Linear or an Affine",
    "I": "whose potential is read and not its spikes; end with a Linear or an Affine",
    "Delay": "and blocks have no delays",
    "Conv1d": "and blocks convolve maps; write it as a Conv2d of height 1",
    "NIRGraph": "a graph in the graph, as recurrent layers are written; recurrences cannot be imported",
}


def numbers(value: Any) -> Tensor:
    """A node's field in float64."""
    return torch.from_numpy(np.asarray(value, np.float64).copy())


def pair(value: Any) -> tuple[int, int]:
    """One number or two as two."""
    both = np.broadcast_to(np.asarray(value), (2,))
    return int(both[0]), int(both[1])


def _simple(value: float, given: Any) -> Fraction:
    """The simple fraction that was meant, 9/10 where the file's float32 gives 0.9000000235; else the number itself."""
    near = Fraction(value).limit_denominator(_SIMPLEST)
    single = np.asarray(given).dtype == np.float32
    return near if abs(float(near) - value) <= (1e-6 if single else 1e-12) else Fraction(value)


def window(name: str, node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Stride and padding of a convolution."""
    if int(node.groups) != 1 or pair(node.dilation) != (1, 1):
        raise CannotImport(name, f"has groups {node.groups} and dilation {node.dilation}; blocks have 1 and 1")
    kernel = np.shape(node.weight)[2:]
    if isinstance(node.padding, str):
        if node.padding == "same" and any(size % 2 == 0 for size in kernel):
            raise CannotImport(name, f'has padding "same" with a kernel of {list(kernel)}; give numbers')
        padding = (kernel[0] // 2, kernel[1] // 2) if node.padding == "same" else (0, 0)
    else:
        padding = pair(node.padding)
    return pair(node.stride), padding


def _convolution(name: str, node: Any, clock: Clock) -> Layer:
    bias = numbers(node.bias)
    stride, padding = window(name, node)
    return Weighted(name, numbers(node.weight), bias if bool(bias.any()) else None, stride, padding)


def _linear(name: str, node: Any, clock: Clock) -> Layer:
    weight = numbers(node.weight)
    if weight.dim() != 2:
        raise CannotImport(name, f"has weights of shape {list(weight.shape)}; needed are [outputs, inputs]")
    bias = getattr(node, "bias", None)
    return Weighted(name, weight, None if bias is None else numbers(bias))


def _scale(name: str, node: Any, clock: Clock) -> Layer:
    return Scaling(name, numbers(node.scale))


def _flatten(name: str, node: Any, clock: Clock) -> Layer:
    # NIR counts axes without the batch; some tools write 1 all the same, and rows are all that can follow.
    if int(node.start_dim) not in (0, 1, -3) or int(node.end_dim) not in (-1, 2):
        raise CannotImport(name, f"flattens axes {node.start_dim} to {node.end_dim}; needed are all of them")
    return Flattening(name)


def _pool(name: str, node: Any, clock: Clock) -> Layer:
    kind = "sum" if type(node).__name__ == "SumPool2d" else "average"
    return Pooling(name, kind, pair(node.kernel_size), pair(node.stride), pair(node.padding))


def _neuron(name: str, leak: Fraction, threshold: Tensor, gain: Tensor, drive: Tensor, clock: Clock) -> Layer:
    ratio = 1.0
    if clock.reset == "delayed":
        if leak == 0:
            raise CannotImport(name, 'forgets everything in one step, so nothing can be subtracted later; reset="hard"')
        ratio = float(1 / leak)
    return Neuron(name, leak, threshold, gain, drive, clock.reset == "hard", ratio)


def _leaky(name: str, node: Any, clock: Clock) -> Layer:
    """tau dv/dt = (v_leak - v) + r i."""
    tau, start = numbers(node.tau), numbers(node.v_reset)
    if bool((tau != tau.flatten()[0]).any()):
        raise CannotImport(name, "has a tau of its own for every neuron; blocks have one leak per layer")
    share = float(_share(tau.flatten()[:1], clock))
    if not 0 <= share <= 1:
        raise CannotImport(
            name, f"has tau {float(tau.flatten()[0]):g}, which is no leak with dt {clock.dt:g}; is dt right?"
        )
    leak = 1 - _simple(share, node.tau)
    rest, threshold = numbers(node.v_leak), numbers(node.v_threshold)
    gain = _simplified(share * numbers(node.r), node.r)
    if torch.equal(rest, start):
        return _neuron(name, leak, threshold - start, gain, _ZERO, clock)  # told from where it starts and is reset to
    if bool(start.any()):
        raise CannotImport(name, "is reset to another value than zero or v_leak; blocks reset to where they leak to")
    return _neuron(name, leak, threshold, gain, share * rest, clock)


def _share(tau: Tensor, clock: Clock) -> Tensor:
    """What a step takes away: 1 - leak."""
    step = clock.dt / tau
    return step if clock.integration == "euler" else 1 - torch.exp(-step)


def _simplified(gain: Tensor, given: Any) -> Tensor:
    return numbers([float(_simple(float(value), given)) for value in gain.flatten()]).reshape(gain.shape)


def _integrator(name: str, node: Any, clock: Clock) -> Layer:
    """dv/dt = r i."""
    if bool(numbers(node.v_reset).any()):
        raise CannotImport(name, "is reset to another value than zero; blocks reset to zero: train with v_reset = 0")
    gain = _simplified(clock.dt * numbers(node.r), node.r)
    return _neuron(name, Fraction(1), numbers(node.v_threshold), gain, _ZERO, clock)


def _comparison(name: str, node: Any, clock: Clock) -> Layer:
    return Neuron(name, Fraction(0), numbers(node.threshold), _ONE, _ZERO, True)


_NODES: dict[str, Callable[[str, Any, Clock], Layer]] = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "Affine": _linear,
    "Scale": _scale,
    "Flatten": _flatten,
    "SumPool2d": _pool,
    "AvgPool2d": _pool,
    "LIF": _leaky,
    "IF": _integrator,
    "Threshold": _comparison,
}
