"""Whether a graph is one that can be run: structure, shapes and sizes, before anything is allocated for it.

A graph that comes from a file is not believed. `check` is quick, since it looks at weights only where their number
alone does not prove the bound of `integer.proof`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bitspike.integer import limits, proof
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    Integers,
    Node,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
    WeightedSum,
)
from bitspike.integer.proof import Range
from bitspike.integer.shapes import window_size

_LEVELS = tuple((1 << (bits - 1)) - 1 for bits in range(2, 17))


@dataclass(frozen=True)
class Value:
    """What travels along an edge in one step: its shape without the batch, and the range that is proved."""

    shape: tuple[int, ...]
    range: Range


def check(graph: Graph) -> dict[str, Value]:
    """Raise ValueError, naming the node, unless the graph can be run within 32 bits on every input it may get.

    Returns what every node gives, by name.
    """
    if not 2 <= len(graph.nodes) <= limits.MOST_NODES:
        raise ValueError(f"the graph has {len(graph.nodes)} nodes; allowed: 2 to {limits.MOST_NODES}")
    last = len(graph.nodes) - 1
    values: dict[str, Value] = {}
    for place, node in enumerate(graph.nodes):
        _refuse_place(node, first=place == 0, last=place == last)
        name = node.name
        if not 1 <= len(name) <= limits.LONGEST_NAME or not name.isprintable():
            raise ValueError(f"node {place}: its name is not of 1 to {limits.LONGEST_NAME} printable characters")
        if name in values:
            raise ValueError(f"{name}: two nodes have this name")
        try:
            values[name] = _value(node, values, graph)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    membranes = sum(math.prod(values[node.name].shape) for node in graph.spiking)
    if membranes > limits.MOST_VALUES:
        raise ValueError(f"the graph has {membranes} neurons; allowed: up to {limits.MOST_VALUES}")
    return values


def _refuse_place(node: Node, *, first: bool, last: bool) -> None:
    if isinstance(node, Input) != first or isinstance(node, Readout) != last:
        raise ValueError(f"{node.name}: a graph begins with its input and ends with its readout, and has no other")


def _value(node: Node, values: dict[str, Value], graph: Graph) -> Value:
    match node:
        case Input():
            found = _input(node)
        case Spiking():
            found = _spiking(node, _source(node.source, values), values)
        case Pool():
            found = _pool(node, _source(node.source, values))
        case Flatten():
            found = _flatten(_source(node.source, values))
        case Readout():
            found = _readout(node, _source(node.source, values), graph.input)
    _refuse_size(found.shape, graph.input.time_steps or 1)
    return found


def _source(name: str, values: dict[str, Value]) -> Value:
    if name not in values:
        raise ValueError(f"it reads {name!r}, which is no node before it")
    return values[name]


def _refuse_size(shape: tuple[int, ...], steps: int) -> None:
    if len(shape) == 3 and max(shape) > limits.LARGEST_SIDE:
        raise ValueError(f"its values have shape {list(shape)}; allowed: up to {limits.LARGEST_SIDE} each")
    if math.prod(shape) * steps > limits.MOST_VALUES:
        raise ValueError(f"{steps} steps of shape {list(shape)} are too large; allowed: {limits.MOST_VALUES} values")


def _within(what: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{what} is {value}; allowed: {low} to {high}")


def _input(node: Input) -> Value:
    if node.kind not in ("image", "events"):
        raise ValueError(f"kind is {node.kind!r}; allowed: image, events")
    if len(node.shape) != 3 or min(node.shape) < 1:
        raise ValueError(f"shape is {list(node.shape)}; allowed: [C, H, W], each 1 and above")
    if node.kind == "image" and node.time_steps is None:
        raise ValueError("an image is shown for a known number of time steps, and time_steps is missing")
    if node.time_steps is not None:
        _within("time_steps", node.time_steps, 1, limits.MOST_STEPS)
    _within("bound", node.bound, 1, 255)
    if len(node.zero_point) != node.shape[0]:
        raise ValueError(f"zero_point has {len(node.zero_point)} values for {node.shape[0]} channels")
    most = 255 if node.kind == "image" else 0
    _within("the smallest zero_point", min(node.zero_point), 0, most)
    _within("the largest zero_point", max(node.zero_point), 0, most)
    if not 0 < node.scale < math.inf:
        raise ValueError(f"scale is {node.scale}; it is a finite number above 0")
    zero = np.array(node.zero_point, np.int64)
    return Value(node.shape, Range(-zero, np.maximum(node.bound - zero, 0)))


def _spiking(node: Spiking, source: Value, values: dict[str, Value]) -> Value:
    shape = _sum_shape(node.operator, source.shape)
    if node.skip is not None and _is_pooled(node):
        raise ValueError("it takes the largest sums of windows and has a skip; allowed: one of the two")
    _check_fire(node.fire, shape[0], node.skip.bound if isinstance(node.skip, PlainSkip) else 0)
    side = None
    if isinstance(node.skip, WeightedSkip):
        operand = _source(node.skip.source, values)
        joined = _sum_shape(node.skip.operator, operand.shape)
        if joined != shape:
            raise ValueError(f"its skip has shape {list(joined)}, the layer itself {list(shape)}")
        _shifts(node.skip.shift, shape[0])
        side = (node.skip.operator.weight, operand.range, node.skip.shift)
    elif isinstance(node.skip, PlainSkip):
        _check_plain_skip(node.skip, _source(node.skip.source, values), shape)
    proof.check_sums((node.operator.weight, source.range, node.fire.shift), side, node.fire)
    none = np.zeros(shape[0], np.int64)
    return Value(shape, Range(none, none + 1))


def _sum_shape(operator: WeightedSum, source: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weighted sum; refuses one that does not fit its operand."""
    shape = operator.weight.shape
    if math.prod(shape) > limits.MOST_WEIGHTS:
        raise ValueError(f"it has weights of shape {list(shape)}; allowed: up to {limits.MOST_WEIGHTS} of them")
    if isinstance(operator, Dense):
        if len(shape) != 2 or len(source) != 1 or shape[1] != source[0]:
            raise ValueError(f"dense weights {list(shape)} do not fit values of shape {list(source)}")
        return (shape[0],)
    if len(shape) != 4 or len(source) != 3 or shape[1] != source[0]:
        raise ValueError(f"convolution weights {list(shape)} do not fit values of shape {list(source)}")
    return (shape[0], *_map(operator, source))


def _map(operator: Convolution, source: tuple[int, ...]) -> tuple[int, int]:
    kernel, stride, padding = operator.weight.shape[2:], operator.stride, operator.padding
    for i in range(2):
        _within("stride", stride[i], 1, limits.LARGEST_SIDE)
        _within("padding", padding[i], 0, limits.LARGEST_SIDE)
    padded = [source[1 + i] + 2 * padding[i] for i in range(2)]
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise ValueError(f"a kernel of {list(kernel)} does not fit a padded map of {padded}")
    _refuse_size((source[0], *padded), 1)
    height, width = (window_size(padded[i], kernel[i], stride[i], 0) for i in range(2))
    if source[0] * math.prod(kernel) * height * width > limits.MOST_UNFOLDED:
        raise ValueError(f"its windows hold more than {limits.MOST_UNFOLDED} values")
    if operator.largest is None:
        return height, width
    _refuse_size((operator.weight.shape[0], height, width), 1)  # of all sums, before the largest are taken
    return _windows(operator.largest.kernel, operator.largest.stride, height, width)


def _windows(
    kernel: tuple[int, int], stride: tuple[int, int], height: int, width: int, padding: tuple[int, int] = (0, 0)
) -> tuple[int, int]:
    """How many windows of a pool a map has each way; refuses those that do not lie within it and its padding."""
    _within("vertical padding", padding[0], 0, kernel[0] // 2)  # so that some of every window lies on the map
    _within("horizontal padding", padding[1], 0, kernel[1] // 2)
    _within("kernel height", kernel[0], 1, height + 2 * padding[0])
    _within("kernel width", kernel[1], 1, width + 2 * padding[1])
    _within("vertical stride", stride[0], 1, limits.LARGEST_SIDE)
    _within("horizontal stride", stride[1], 1, limits.LARGEST_SIDE)
    return window_size(height, kernel[0], stride[0], padding[0]), window_size(width, kernel[1], stride[1], padding[1])


def _is_pooled(node: Spiking) -> bool:
    operators = [node.operator, *([node.skip.operator] if isinstance(node.skip, WeightedSkip) else [])]
    return any(isinstance(operator, Convolution) and operator.largest is not None for operator in operators)


def _check_fire(fire: Fire, channels: int, bound: int) -> None:
    _within("skip bound", bound, 0, limits.MOST_COUNT)
    _within("g", fire.g, 0, limits.MOST_SHIFT)
    _within("leak_exponent", fire.leak_exponent, 0, fire.g)
    _within("leak", fire.leak, 0, 1 << fire.leak_exponent)
    if fire.levels not in _LEVELS:
        raise ValueError(f"levels is {fire.levels}; allowed: 2^(bits - 1) - 1 for 2 to 16 bits")
    if (fire.levels + 1) << fire.g > proof.INT32:
        raise ValueError(f"{fire.levels} levels with a g of {fire.g} do not fit 32 bits")
    _within("seed", fire.seed, 0, (1 << 32) - 1)
    _within("stream", fire.stream, 0, (1 << 32) - 1)
    if fire.reset not in ("hard", "soft") or (fire.reset == "soft") != (fire.rounding_fired is not None):
        raise ValueError("reset is hard, without rounding_fired, or soft, with it; here it is neither")
    for name in ("threshold", "rounding", "rounding_fired"):
        table: Integers | None = getattr(fire, name)
        if table is not None and table.shape != (channels, bound + 1):
            raise ValueError(f"{name} has shape {list(table.shape)}; needed: {[channels, bound + 1]}")
    _shifts(fire.shift, channels)


def _shifts(shift: Integers, channels: int) -> None:
    if shift.shape != (channels,):
        raise ValueError(f"shift has shape {list(shift.shape)}; needed: {[channels]}")
    _within("the smallest shift", int(shift.min()), 0, limits.MOST_SHIFT)
    _within("the largest shift", int(shift.max()), 0, limits.MOST_SHIFT)


def _check_plain_skip(skip: PlainSkip, operand: Value, shape: tuple[int, ...]) -> None:
    """The operand must meet the layer's own map, and its values the columns of the tables."""
    _within("skip stride", skip.stride, 1, limits.LARGEST_SIDE)
    mapped = operand.shape[0] if skip.channel_map is None else len(skip.channel_map)
    strided = tuple(-(-side // skip.stride) for side in operand.shape[1:])
    if (mapped, *strided) != shape:
        raise ValueError(f"its skip has shape {[mapped, *strided]}, the layer itself {list(shape)}")
    if skip.channel_map is not None:
        _within("the smallest number in channel_map", min(skip.channel_map), -1, operand.shape[0] - 1)
        _within("the largest number in channel_map", max(skip.channel_map), -1, operand.shape[0] - 1)
    low, high = int(operand.range.low.min()), int(operand.range.high.max())
    if low < 0 or high > skip.bound:
        raise ValueError(f"its skip can bring values from {low} to {high}; its tables hold 0 to {skip.bound}")


def _pool(node: Pool, source: Value) -> Value:
    if node.kind not in ("max", "sum"):
        raise ValueError(f"kind is {node.kind!r}; allowed: max, sum")
    if len(source.shape) != 3:
        raise ValueError(f"it pools values of shape {list(source.shape)}; needed: [C, H, W]")
    channels, height, width = source.shape
    if node.kernel is None and node.stride is not None:
        raise ValueError("it pools the whole map, kernel is missing, yet it has a stride")
    kernel = node.kernel or (height, width)
    if node.kernel is None and node.padding != (0, 0):
        raise ValueError("it pools the whole map, kernel is missing, yet it has padding")
    sides = _windows(kernel, node.stride or kernel, height, width, node.padding)
    values = source.range if node.kind == "max" else proof.summed(source.range, math.prod(kernel))
    return Value((channels, *sides), values)


def _flatten(source: Value) -> Value:
    if len(source.shape) != 3:
        raise ValueError(f"it flattens values of shape {list(source.shape)}; needed: [C, H, W]")
    return Value((math.prod(source.shape),), Range(source.range.low, source.range.high, math.prod(source.shape[1:])))


def _readout(node: Readout, source: Value, entry: Input) -> Value:
    shape = _sum_shape(Dense(node.weight), source.shape)
    if node.bias.shape != shape:
        raise ValueError(f"bias has shape {list(node.bias.shape)}; needed: {list(shape)}")
    _within("time_steps", node.time_steps, 1, limits.MOST_STEPS)
    if not 0 < node.unit < math.inf:
        raise ValueError(f"unit is {node.unit}; it is a finite number above 0")
    if entry.time_steps is None and node.bias.any():
        raise ValueError("the input takes any number of time steps, but the bias is made for one")
    if entry.time_steps not in (None, node.time_steps):
        raise ValueError(f"it is made for {node.time_steps} time steps, the input brings {entry.time_steps}")
    proof.check_readout(node, source.range)
    none = np.zeros(shape[0], np.int64)
    return Value(shape, Range(none, none))
