"""Small graphs written by hand, and graphs compared as data."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np

from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
)
from bitspike.integer.weight import Weight


def fire(channels: int, columns: int = 1, **changes: object) -> Fire:
    """A plain layer of 4-bit membranes: leak 1/2, threshold 3."""
    numbers = {
        "threshold": np.full((channels, columns), 3, np.int32),
        "rounding": np.full((channels, columns), 1, np.int32),
        "rounding_fired": None,
        "shift": np.zeros(channels, np.uint8),
        "leak": 1,
        "leak_exponent": 1,
        "g": 1,
        "levels": 7,
        "reset": "hard",
        "stochastic": False,
        "seed": 0,
        "stream": 0,
    }
    return Fire(**(numbers | changes))


def by_hand() -> Graph:
    """The network that docs/explanation/integer-form.md computes by hand."""
    layer = fire(
        2,
        threshold=np.array([[10], [9]], np.int32),
        rounding=np.array([[1], [2]], np.int32),
        shift=np.array([3, 1], np.uint8),
    )
    return Graph(
        (
            Input("input", "events", (2, 1, 1), 5, (0, 0), 4, 1.0),
            Flatten("flatten", "input"),
            Spiking("hidden", "flatten", Dense(np.array([[1, 1], [-1, 1]])), layer, None),
            Readout("readout", "hidden", np.array([[127, -50], [-30, 90]]), np.array([10, -5], np.int32), 0.002, 5),
        )
    )


def everything() -> Graph:
    """A graph with every kind of node, operator, skip and grid, and integers of every width."""
    numbers = np.random.default_rng(5)
    binary = Weight.of(numbers.choice((-1, 1), (5, 2, 3, 3)))
    odd = Weight.of(numbers.choice((-3, -1, 1, 3), (5, 5, 3, 3)))
    signed = Weight.of(numbers.integers(-8, 8, (6, 5, 3, 3)))
    side = Weight.of(numbers.choice((-1, 1), (6, 2, 1, 1)))
    wide = np.array([[0, -1], [300, -300], [70_000, 5], [-(2**31), 2**31 - 1], [1, 2]], np.int32)
    soft = fire(
        6,
        rounding_fired=np.full((6, 1), -7, np.int32),
        reset="soft",
        stochastic=True,
        seed=2**32 - 1,
        stream=3,
        shift=np.arange(6, dtype=np.uint8),
        g=4,
        leak=3,
        leak_exponent=2,
    )
    dense = Weight.of(numbers.integers(-127, 128, (3, 24)))
    skip = PlainSkip("first", 1, (4, -1, 0, 1, 1), 1)
    weighted = WeightedSkip("input", Convolution(side, (2, 2), (0, 0)), np.arange(1, 7, dtype=np.uint8))
    return Graph(
        (
            Input("input", "image", (2, 7, 7), 3, (3, 250), 255, 0.25),
            Spiking("first", "input", Convolution(binary, (1, 1), (1, 1)), fire(5), None),
            Spiking("second", "first", Convolution(odd, (1, 1), (1, 1)), fire(5, 2, threshold=wide), skip),
            Spiking("third", "second", Convolution(signed, (2, 2), (1, 1)), soft, weighted),
            Pool("sum", "third", "sum", (3, 3), (1, 1)),
            Pool("max", "sum", "max", (2, 1), (1, 2)),
            Pool("global", "max", "sum", None, None),
            Flatten("unread", "global"),
            Flatten("flat", "sum"),
            Spiking("dense", "flat", Dense(dense), fire(3), None),
            Readout("readout", "dense", np.array([[1, 3, -1], [0, 2, 1]]), np.array([-400, 70_000]), 0.5, 3),
        )
    )


def same(one: object, other: object) -> bool:
    """Whether two graphs, or parts of them, are equal in every number."""
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
