"""The integer network as plain data: numpy arrays and small numbers, no behaviour.

A `Graph` is a list of nodes in the order of execution; each names the nodes it reads. Values that travel along
the edges are integers [T, B, ...]: spikes (0/1), counts (sums of spikes), or pixels minus their zero point.
What the nodes compute is defined in `integer.ops`. Graphs, and nodes that hold arrays, are equal only to themselves;
`bitspike.runtime.state.fingerprint` tells whether two graphs compute with the same integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.weight import Weight

Integers: TypeAlias = NDArray[np.integer[Any]]


def _as_weight(owner: Convolution | Dense | Readout) -> None:
    """Arrays of codes become Weights, so that a graph can be written by hand."""
    if not isinstance(owner.weight, Weight):
        object.__setattr__(owner, "weight", Weight.of(np.asarray(owner.weight)))


@dataclass(frozen=True)
class Input:
    """Where samples enter: uint8 images [B, C, H, W], or uint8 event counts [T, B, C, H, W] up to `bound`."""

    name: str
    kind: str  # "image" | "events"
    shape: tuple[int, ...]  # C, H, W
    time_steps: int | None  # None: as many as the sample brings
    zero_point: tuple[int, ...]  # per channel, subtracted
    bound: int  # largest value that may enter
    scale: float  # the real value of one unit, for the record; nothing is computed with it


@dataclass(frozen=True, eq=False)
class Fire:
    """The per-channel integers of a spiking layer, and the numbers all its channels share.

    I = ((U * leak) << (g - e)) + (A << shift[c]);  S = I >= threshold[c, j]
    U = 0 if S (hard reset) else clamp((I + rounding[c, j]) >> g, -levels, levels);  soft reset: where S,
    rounding_fired takes the place of rounding. j is the plain skip's spike or count, 0 without one.
    """

    threshold: Integers  # [C, J + 1]
    rounding: Integers  # [C, J + 1]
    rounding_fired: Integers | None  # [C, J + 1], soft reset only
    shift: Integers  # f [C], >= 0
    leak: int  # tau = leak / 2^e
    leak_exponent: int  # e
    g: int
    levels: int
    reset: str  # "hard" | "soft"
    stochastic: bool
    seed: int
    stream: int  # number of the layer in the generator's counter

    @property
    def h(self) -> int:
        """The left shift of the leaked membrane."""
        return self.g - self.leak_exponent


@dataclass(frozen=True)
class Largest:
    """Windows over a map of sums, without padding; of each one the largest sum counts."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True)
class Convolution:
    """A = sum(W * x) over a window; x is padded with zeros (pixels: with their zero point).

    largest: max pooling before the neurons; A is then the largest sum of a window of it.
    """

    weight: Weight  # [C_out, C_in, kh, kw]; arrays are taken too
    stride: tuple[int, int]
    padding: tuple[int, int]
    largest: Largest | None = None  # not beside a skip

    def __post_init__(self) -> None:
        _as_weight(self)


@dataclass(frozen=True)
class Dense:
    """A = sum(W * x) over all features."""

    weight: Weight  # [C_out, C_in]; arrays are taken too

    def __post_init__(self) -> None:
        _as_weight(self)


WeightedSum: TypeAlias = Convolution | Dense


@dataclass(frozen=True)
class PlainSkip:
    """j = the source's spike or count at every stride-th pixel, channel_map[c] of it (-1: none, j = 0)."""

    source: str
    stride: int
    channel_map: tuple[int, ...] | None  # None: channel c to channel c
    bound: int  # largest j


@dataclass(frozen=True, eq=False)
class WeightedSkip:
    """A second weighted sum joins: I += A' << shift[c], shift = f + s >= 0."""

    source: str
    operator: WeightedSum
    shift: Integers  # [C]


@dataclass(frozen=True, eq=False)
class Spiking:
    """One spiking layer: weighted sum, optional skip, membrane, spikes."""

    name: str
    source: str
    operator: WeightedSum
    fire: Fire
    skip: PlainSkip | WeightedSkip | None


@dataclass(frozen=True)
class Pool:
    """max (OR of spikes) or sum over windows; kernel None: over the whole map, giving 1 x 1.

    padding: how far windows reach beyond the map, at most half of them; what is there does not count.
    """

    name: str
    source: str
    kind: str  # "max" | "sum"
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Flatten:
    """[T, B, C, H, W] to [T, B, C * H * W]."""

    name: str
    source: str


@dataclass(frozen=True, eq=False)
class Readout:
    """logits = sum over t of (W x[t]) + bias; the largest wins, the lowest index at a tie.

    Real logits, the mean over T, are `logits * unit`.
    """

    name: str
    source: str
    weight: Weight  # [K, features]; arrays are taken too
    bias: Integers  # [K], = round(T * real bias / scale)
    unit: float
    time_steps: int  # the T that bias and unit were made for

    def __post_init__(self) -> None:
        _as_weight(self)


Node: TypeAlias = Input | Spiking | Pool | Flatten | Readout


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of execution; the first is the input, the last the readout."""

    nodes: tuple[Node, ...]

    @property
    def input(self) -> Input:
        """The node where samples enter."""
        first = self.nodes[0]
        if not isinstance(first, Input):
            raise ValueError(f"an integer graph starts with its input, here it starts with {first.name}")
        return first

    @property
    def readout(self) -> Readout:
        """The node whose result is the network's."""
        last = self.nodes[-1]
        if not isinstance(last, Readout):
            raise ValueError(f"an integer graph ends with its readout, here it ends with {last.name}")
        return last

    @property
    def spiking(self) -> tuple[Spiking, ...]:
        """The spiking layers, in order."""
        return tuple(node for node in self.nodes if isinstance(node, Spiking))
