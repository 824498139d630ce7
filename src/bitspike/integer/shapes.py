"""The shapes [C, H, W] or [C] of every node's value, from a graph alone."""

from __future__ import annotations

import math

from bitspike.integer.graph import Convolution, Dense, Flatten, Graph, Input, Node, Pool, Readout, Spiking

Shape = tuple[int, ...]


def shapes(graph: Graph) -> dict[str, Shape]:
    """Name of every node to the shape of its value at one step of one sample."""
    found: dict[str, Shape] = {}
    for node in graph.nodes:
        found[node.name] = _shape(node, found)
    return found


def window_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """How many places a window has along one side."""
    return (size + 2 * padding - kernel) // stride + 1


def _shape(node: Node, found: dict[str, Shape]) -> Shape:  # noqa: PLR0911
    match node:
        case Input():
            return node.shape
        case Spiking(operator=Dense() as dense):
            return (len(dense.weight),)
        case Spiking(operator=Convolution() as operator):
            _, height, width = found[node.source]
            kernel, stride, padding = operator.weight.shape[2:], operator.stride, operator.padding
            sizes = [window_size((height, width)[i], kernel[i], stride[i], padding[i]) for i in range(2)]
            if operator.largest is not None:
                pooled = operator.largest
                sizes = [window_size(sizes[i], pooled.kernel[i], pooled.stride[i], 0) for i in range(2)]
            return (len(operator.weight), *sizes)
        case Pool():
            channels, height, width = found[node.source]
            if node.kernel is None:
                return (channels, 1, 1)
            steps = node.stride or node.kernel
            sizes = [window_size((height, width)[i], node.kernel[i], steps[i], node.padding[i]) for i in range(2)]
            return (channels, *sizes)
        case Flatten():
            return (math.prod(found[node.source]),)
        case Readout():
            return (len(node.weight),)
    raise TypeError(f"{type(node).__name__} is no node of an integer graph")
