"""An integer network as a NIR graph whose own numbers are the network in real values.

Per channel the unit is the threshold, so every neuron's threshold is 1, as the readers of other tools want it (-1 or
near 0 where a channel fires by itself):

    v[t] = leak * v[t-1] + share * (W x[t] + b);   spike and v = 0 where v > 1

share is 1 - leak, which makes NIR's r 1: there are tools that take it for that without a look. IF neurons, whose leak
is 1, have the share 1.

NIR's membrane is neither rounded nor clamped. What the integers do besides stands in each node's metadata
(`nir.metadata`). Rounding to a grid of 2^g moves a membrane by (2^g - 1) / 2 less what is added before the
shift, on average; b holds that mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from bitspike.integer.shapes import Shape, shapes
from bitspike.integer.weight import Weight
from bitspike.nir.metadata import KEY, WEIGHT_KEY, embedded

Real = NDArray[np.floating[Any]]
Window = tuple[tuple[int, int], tuple[int, int]]  # stride, padding


class CannotExport(ValueError):
    """A layer that NIR has no nodes for; the message names it."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} {why}")


def nir_graph(graph: Graph, dt: float) -> Any:
    """The graph of the `nir` package; dt is the length of a time step in its unit of time, seconds."""
    import nir

    _refuse_unread(graph)
    writer = _Writer(graph, dt)
    for node, metadata in zip(graph.nodes, embedded(graph), strict=True):
        writer.add(node, metadata)
    last = graph.readout.name
    writer.put("output", nir.Output({"output": np.array(writer.shapes[last])}), writer.end[last])
    return nir.NIRGraph(writer.nodes, writer.edges)


def _refuse_unread(graph: Graph) -> None:
    """NIR takes a node that nothing reads for an output."""
    read: set[str] = {graph.readout.name}
    for node in graph.nodes:
        if not isinstance(node, Input):
            read.add(node.source)
        if isinstance(node, Spiking) and node.skip is not None:
            read.add(node.skip.source)
    for node in graph.nodes:
        if node.name not in read:
            raise CannotExport(node.name, "is read by nothing, so NIR would take it for an output")


def input_unit(node: Input) -> float:
    """What a 1 of the file's input stands for: of images 255, since other tools have pixels from 0 to 1."""
    return 255.0 if node.kind == "image" else 1.0


class _Writer:
    """Collects nodes and edges. `end` is the NIR node that gives a layer's value, in units of `unit`."""

    def __init__(self, graph: Graph, dt: float) -> None:
        self.dt = dt
        self.shapes: dict[str, Shape] = shapes(graph)
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.end: dict[str, str] = {}
        self.unit: dict[str, float] = {}  # what a 1 of its value stands for; of averages over k places it is k
        self.spikes: set[str] = set()
        self.names = _names(graph)

    def put(self, name: str, node: Any, *sources: str) -> str:
        """A node under this name, fed by other nodes."""
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def add(self, node: Node, metadata: dict[str, Any]) -> None:
        """One layer of the integer network."""
        import nir

        name = self.names[node.name]
        self.unit[node.name] = 1.0
        match node:
            case Input():
                self.put(name, nir.Input({"input": np.array(node.shape)}))
                self.unit[node.name] = input_unit(node)
            case Flatten():
                shape = self.shapes[node.source]
                # Counted from the end it is the same with a batch in front, which not every reader thinks of.
                flatten = nir.Flatten({"input": np.array(shape)}, -len(shape), -1)
                self.put(name, flatten, self.end[node.source])
                self._passes(node.source, node.name)
            case Pool():
                name = self._pool(name, node)
            case Spiking():
                name = self._spiking(name, node)
            case Readout():
                scale = np.full(len(node.weight), node.unit * node.time_steps)
                bias = node.bias * node.unit
                self._weighted(name, node.weight, None, scale, bias, node.source)
        self.end[node.name] = name
        self.nodes[name].metadata[KEY] = metadata

    def _passes(self, source: str, name: str) -> None:
        """What holds of the source's values holds of these too."""
        self.unit[name] = self.unit[source]
        if source in self.spikes:
            self.spikes.add(name)

    def _pool(self, name: str, node: Pool) -> str:
        """Sums are averages here, and the next weights that much larger; an OR fires where an average is not zero."""
        import nir

        kernel = node.kernel or self.shapes[node.source][1:]
        stride = node.stride or kernel
        size = kernel[0] * kernel[1]
        pooling = nir.AvgPool2d(np.array(kernel), np.array(stride), np.array(node.padding))
        if node.kind == "sum":
            self.unit[node.name] = self.unit[node.source] * size
            return self.put(name, pooling, self.end[node.source])
        if node.source not in self.spikes:
            raise CannotExport(node.name, "takes the largest of counts, and NIR has no maximum; of spikes it is an OR")
        self.spikes.add(node.name)
        averages = self.put(name, pooling, self.end[node.source])
        # It fires and is reset, or got nothing: whatever the leak, no membrane is left.
        return self.put(f"{name}_or", self._leaky(0.5, np.array([0.25 / size]), self.shapes[node.name]), averages)

    def _leaky(self, leak: float, threshold: Real, shape: Shape) -> Any:
        """v = leak * v + share * i, as NIR's differential equation by Euler's method."""
        import nir

        full = np.ones(shape, np.float32)
        rest = 0 * full
        thresholds = (full * threshold.reshape(-1, *(1,) * (len(shape) - 1))).astype(np.float32)
        if leak == 1:
            return nir.IF(r=full / self.dt, v_threshold=thresholds, v_reset=rest)
        return nir.LIF(tau=full * (self.dt / (1 - leak)), r=full, v_leak=rest, v_threshold=thresholds, v_reset=rest)

    def _spiking(self, name: str, node: Spiking) -> str:
        fire, operator = node.fire, node.operator
        if isinstance(operator, Convolution) and operator.largest is not None:
            raise CannotExport(node.name, "takes the largest sums of a window before its neurons; NIR has no maximum")
        leak = fire.leak / 2.0**fire.leak_exponent
        threshold, bias = _threshold_and_bias(fire)
        size = np.maximum(np.abs(threshold), 0.5)  # a threshold below 0 is that of a channel that fires by itself
        unit = size * _share(leak)  # of what comes in, in units of I
        self._weighted(name, operator.weight, _window(operator), 2.0**fire.shift / unit, bias / unit, node.source)
        feeding = [name]
        if node.skip is not None:
            feeding.append(self._skip(f"{name}_skip", node, node.skip, unit))
        self.spikes.add(node.name)
        return self.put(f"{name}_neurons", self._leaky(leak, threshold / size, self.shapes[node.name]), *feeding)

    def _skip(self, name: str, node: Spiking, skip: PlainSkip | WeightedSkip, unit: Real) -> str:
        if isinstance(skip, WeightedSkip):
            scale = 2.0**skip.shift / unit
            self._weighted(name, skip.operator.weight, _window(skip.operator), scale, 0 * scale, skip.source)
            return name
        # Every spike of the source lifts the membrane by the same amount, and so lowers the threshold of each count.
        table = node.fire.threshold.astype(np.float64)
        step = (table[:, 0] - table[:, -1]) / skip.bound / unit
        sources, channels = self.shapes[skip.source][0], len(step)
        matrix = np.zeros((channels, sources))
        for channel, source in enumerate(skip.channel_map or range(channels)):
            if source >= 0:
                matrix[channel, source] = step[channel]
        window = ((skip.stride, skip.stride), (0, 0)) if len(self.shapes[skip.source]) > 1 else None
        values = matrix if window is None else matrix[:, :, None, None]
        self._linear(name, values * self.unit[skip.source], 0 * step, window, skip.source)
        return name

    def _weighted(self, name: str, weight: Weight, window: Window | None, scale: Real, bias: Real, source: str) -> None:
        """Codes times a scale per channel; the metadata says what brings the codes back."""
        scale = scale * self.unit[source]
        values = weight.codes * scale.reshape(-1, *(1,) * (len(weight.shape) - 1))
        self._linear(name, values, bias, window, source)
        self.nodes[name].metadata[WEIGHT_KEY] = {"scale": scale, "grid": weight.grid, "bits": weight.bits}

    def _linear(self, name: str, values: Real, bias: Real, window: Window | None, source: str) -> None:
        import nir

        weights, biases = values.astype(np.float32), np.asarray(bias, np.float32)
        if window is None:
            self.put(name, nir.Affine(weights, biases), self.end[source])
            return
        stride, padding = window
        weights, padding = _square(name, weights, padding)
        node = nir.Conv2d(self.shapes[source][1:], weights, stride, padding, (1, 1), 1, biases)
        self.put(name, node, self.end[source])


def _window(operator: WeightedSum) -> Window | None:
    """How it moves over maps; None for rows."""
    return (operator.stride, operator.padding) if isinstance(operator, Convolution) else None


def _share(leak: float) -> float:
    """What a step lets in of its input."""
    return 1.0 if leak == 1 else 1 - leak


def _threshold_and_bias(fire: Fire) -> tuple[Real, Real]:
    """What a channel's membrane must exceed, and what is added to it at every step, in units of I."""
    half = 0.0 if fire.stochastic else (2.0**fire.g - 1) / 2
    bias = fire.rounding[:, 0] - half
    return fire.threshold[:, 0] + bias - 0.5, bias  # between two integers, so > and >= are the same


def _square(name: str, weights: NDArray[np.float32], padding: tuple[int, int]) -> tuple[Any, tuple[int, int]]:
    """nir computes the size of maps from square kernels; zeros around a kernel and wider padding change nothing."""
    height, width = weights.shape[2:]
    size = max(height, width)
    more = (size - height, size - width)
    if more[0] % 2 or more[1] % 2:
        raise CannotExport(name, f"has a kernel of {height} x {width}; nir takes square ones, or odd by odd")
    around = [(0, 0), (0, 0), *((part // 2, part // 2) for part in more)]
    return np.pad(weights, around), (padding[0] + more[0] // 2, padding[1] + more[1] // 2)


def _names(graph: Graph) -> dict[str, str]:
    """Names that files and other tools take, every one once, with room for what is added to them."""
    taken: set[str] = {"output"}
    found: dict[str, str] = {}
    for node in graph.nodes:
        plain = re.sub(r"\W", "_", node.name, flags=re.ASCII) or "layer"
        name = next(name for name in _numbered(plain) if not {name + end for end in _ENDINGS} & taken)
        taken |= {name + end for end in _ENDINGS}
        found[node.name] = name
    return found


_ENDINGS = ("", "_neurons", "_skip", "_or")


def _numbered(name: str) -> Iterator[str]:
    yield name
    count = 1
    while True:
        count += 1
        yield f"{name}_{count}"
