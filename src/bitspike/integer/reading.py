"""The way back: a header's plain data, of which nothing is believed, to a graph.

Here are keys and types; what the values mean together is checked by `integer.check`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.container import Tensors
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    Largest,
    Node,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
    WeightedSum,
)
from bitspike.integer.limits import LONGEST_NAME, MOST_NODES, MOST_SHIFT, MOST_WEIGHTS
from bitspike.integer.weight import Weight

_FURTHEST = 1 << 40  # no number of a graph is near it; keeps later products small

_KEYS = {
    "input": ("kind", "shape", "time_steps", "zero_point", "bound", "scale"),
    "spiking": ("source", "operator", "fire", "skip"),
    "pool": ("source", "kind", "kernel", "stride"),
    "flatten": ("source",),
    "readout": ("source", "weight", "bias", "unit", "time_steps"),
}
_FIRE_NUMBERS = ("leak", "leak_exponent", "g", "levels", "seed", "stream")


def from_plain(nodes: Any, tensors: Tensors) -> Graph:
    """The graph of a header; ValueError where it says anything but a graph of these very tensors."""
    if not isinstance(nodes, list) or not 1 <= len(nodes) <= MOST_NODES:
        raise ValueError(f"its graph is no list of 1 to {MOST_NODES} nodes")
    unused = dict(tensors)
    graph = Graph(tuple(_node(Table(item, f"node {place}", unused)) for place, item in enumerate(nodes)))
    if unused:
        raise ValueError(f"tensor {next(iter(unused))!r} belongs to no node")
    return graph


class Table:
    """One object of a header: hands its values out by type, and says which node is wrong."""

    def __init__(self, value: Any, where: str, tensors: Tensors) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        self.value: Mapping[str, Any] = value
        self.where, self.tensors = where, tensors

    def keys(self, *names: str) -> None:
        """Refuse a missing key and an unknown one."""
        if set(self.value) != set(names):
            found = sorted(set(self.value) ^ set(names))
            raise ValueError(
                f"{self.where}: the key {found[0][:40]!r} is {'missing' if found[0] in names else 'unknown'}"
            )

    def number(self, name: str) -> int:
        """A whole number."""
        value = self.value.get(name)
        if type(value) is not int or abs(value) > _FURTHEST:
            raise ValueError(f"{self.where}: {name} is no whole number in reach")
        return value

    def real(self, name: str) -> float:
        """A finite number above 0."""
        value = self.value.get(name)
        # A whole number of more digits than a float64 can reach would not convert.
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= sys.float_info.max:
            raise ValueError(f"{self.where}: {name} is no finite number above 0")
        return float(value)

    def text(self, name: str, *allowed: str) -> str:
        """A text; one of those allowed, or a name that can be shown."""
        value = self.value.get(name)
        if not isinstance(value, str) or (allowed and value not in allowed):
            wanted = f"one of {', '.join(allowed)}" if allowed else "a text"
            raise ValueError(f"{self.where}: {name} is not {wanted}")
        if not 1 <= len(value) <= LONGEST_NAME or not value.isprintable():
            raise ValueError(f"{self.where}: {name} is not of 1 to {LONGEST_NAME} printable characters")
        return value

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self.value.get(name)
        if not isinstance(value, bool):
            raise ValueError(f"{self.where}: {name} is neither true nor false")
        return value

    def numbers(self, name: str, length: int) -> tuple[int, ...]:
        """That many whole numbers."""
        value = self.value.get(name)
        if not isinstance(value, list) or len(value) != length:
            raise ValueError(f"{self.where}: {name} is no list of {length} numbers")
        return tuple(Table({name: item}, self.where, {}).number(name) for item in value)

    def pair(self, name: str) -> tuple[int, int]:
        """Two whole numbers."""
        first, second = self.numbers(name, 2)
        return first, second

    def table(self, name: str) -> Table:
        """An object within this one."""
        return Table(self.value.get(name), f"{self.where}: {name}", self.tensors)

    def tensor(self, name: str, axes: int, dtype: Any = np.int32) -> NDArray[Any]:
        """A tensor, which no other place may name; a copy, of the type that the graph's arrays have."""
        return self.packed(name, axes).astype(dtype)

    def packed(self, name: str, axes: int) -> NDArray[Any]:
        """The same as it is in the file."""
        value = self.value.get(name)
        found = self.tensors.pop(value, None) if isinstance(value, str) else None
        if found is None:
            raise ValueError(f"{self.where}: {name} names no tensor, or one that is used already")
        if found.ndim != axes:
            raise ValueError(f"{self.where}: the tensor of {name} has {found.ndim} axes, not {axes}")
        return found

    def absent(self, name: str) -> bool:
        """Whether the value is null."""
        return self.value.get(name) is None


def _node(table: Table) -> Node:
    kind = table.text("node", *_KEYS)
    name = table.text("name")
    table.where = name
    padded = ("padding",) if kind == "pool" and "padding" in table.value else ()
    table.keys("node", "name", *_KEYS[kind], *padded)
    match kind:
        case "input":
            return _input(name, table)
        case "spiking":
            skip = None if table.absent("skip") else _skip(table.table("skip"))
            source, operator = table.text("source"), _operator(table.table("operator"))
            return Spiking(name, source, operator, _fire(table.table("fire")), skip)
        case "pool":
            kernel = None if table.absent("kernel") else table.pair("kernel")
            stride = None if table.absent("stride") else table.pair("stride")
            padding = table.pair("padding") if padded else (0, 0)
            return Pool(name, table.text("source"), table.text("kind", "max", "sum"), kernel, stride, padding)
        case "flatten":
            return Flatten(name, table.text("source"))
    weight, bias = _weight(table.table("weight"), 2), table.tensor("bias", 1)
    return Readout(name, table.text("source"), weight, bias, table.real("unit"), table.number("time_steps"))


def _input(name: str, table: Table) -> Input:
    steps = None if table.absent("time_steps") else table.number("time_steps")
    zero = tuple(int(value) for value in table.tensor("zero_point", 1))
    shape, kind = table.numbers("shape", 3), table.text("kind", "image", "events")
    return Input(name, kind, shape, steps, zero, table.number("bound"), table.real("scale"))


def _operator(table: Table) -> WeightedSum:
    if table.text("operator", "convolution", "dense") == "dense":
        table.keys("operator", "weight")
        return Dense(_weight(table.table("weight"), 2))
    pooled = ("largest",) if "largest" in table.value else ()
    table.keys("operator", "weight", "stride", "padding", *pooled)
    largest = _largest(table.table("largest")) if pooled else None
    return Convolution(_weight(table.table("weight"), 4), table.pair("stride"), table.pair("padding"), largest)


def _largest(table: Table) -> Largest:
    table.keys("kernel", "stride")
    return Largest(table.pair("kernel"), table.pair("stride"))


def _weight(table: Table, axes: int) -> Weight:
    table.keys("planes", "shape", "grid", "bits")
    shape, planes = table.numbers("shape", axes), table.packed("planes", 2)
    if min(shape) < 1 or math.prod(shape) > MOST_WEIGHTS:
        raise ValueError(f"{table.where} has shape {list(shape)}; allowed: 1 and above, {MOST_WEIGHTS} weights in all")
    try:
        weight = Weight(shape, table.text("grid"), table.number("bits"), planes)
    except ValueError as error:
        raise ValueError(f"{table.where}: {error}") from None
    used = math.prod(shape) % 8
    if used and bool((planes[:, -1] >> used).any()):
        raise ValueError(f"{table.where}: the bits after the last weight are not all zero")
    return weight


def _fire(table: Table) -> Fire:
    shifted = ("table_shift",) if "table_shift" in table.value else ()
    table.keys("threshold", "rounding", "rounding_fired", "shift", "reset", "stochastic", *_FIRE_NUMBERS, *shifted)
    shift = table.number("table_shift") if shifted else 0
    if not (0 <= shift <= MOST_SHIFT):
        raise ValueError(f"{table.where}: table_shift is {shift}; allowed: 0 to {MOST_SHIFT}")
    return Fire(
        threshold=_constants(table, "threshold", shift),
        rounding=_constants(table, "rounding", shift),
        rounding_fired=None if table.absent("rounding_fired") else _constants(table, "rounding_fired", shift),
        shift=_shift(table),
        reset=table.text("reset", "hard", "soft"),
        stochastic=table.flag("stochastic"),
        **{name: table.number(name) for name in _FIRE_NUMBERS},
    )


def _constants(table: Table, name: str, shift: int) -> NDArray[np.int32]:
    """Per-channel constants, shifted back; what does not fit 32 bits is refused, not wrapped."""
    wide = table.tensor(name, 2, np.int64) << shift
    if wide.size and not -(2**31) <= int(wide.min()) <= int(wide.max()) < 2**31:
        raise ValueError(f"{table.where}: {name} holds values that do not fit 32 bits after table_shift")
    return wide.astype(np.int32)


def _skip(table: Table) -> PlainSkip | WeightedSkip:
    if table.text("skip", "plain", "weighted") == "weighted":
        table.keys("skip", "source", "operator", "shift")
        return WeightedSkip(table.text("source"), _operator(table.table("operator")), _shift(table))
    table.keys("skip", "source", "stride", "channel_map", "bound")
    channels: tuple[int, ...] | None = None
    if not table.absent("channel_map"):
        channels = tuple(int(value) for value in table.tensor("channel_map", 1))
    return PlainSkip(table.text("source"), table.number("stride"), channels, table.number("bound"))


def _shift(table: Table) -> NDArray[np.uint8]:
    """Shifts are uint8 in a graph; what does not fit is refused, not wrapped."""
    wide = table.tensor("shift", 1)
    if wide.size and not 0 <= int(wide.min()) <= int(wide.max()) <= MOST_SHIFT:
        raise ValueError(
            f"{table.where}: a shift is from {int(wide.min())} to {int(wide.max())}; allowed: 0 to {MOST_SHIFT}"
        )
    return wide.astype(np.uint8)
