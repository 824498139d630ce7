"""How a graph's values, weights and memory lie in the C export: plain data, made by `plan`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Dense, Graph, Largest, Pool, Readout, Spiking

Words: TypeAlias = NDArray[np.uint32]
Bytes: TypeAlias = NDArray[np.int8]


@dataclass(eq=False)
class Map:
    """Values of one step: [height, width, channels] in [low, high], as planes of bits; or the frame that comes in."""

    height: int
    width: int
    channels: int
    low: int
    high: int
    is_frame: bool = False
    is_static: bool = False
    at: int = 0  # first word in the arena

    @property
    def planes(self) -> int:
        """Bits of the largest magnitude."""
        return max(-self.low, self.high).bit_length()

    @property
    def is_signed(self) -> bool:
        """Whether a plane of signs follows."""
        return self.low < 0

    @property
    def words(self) -> int:
        """Of the arena."""
        return 0 if self.is_frame else words_of(self.places * self.channels * (self.planes + self.is_signed))

    @property
    def places(self) -> int:
        """Rows times columns."""
        return self.height * self.width


@dataclass(eq=False)
class Sum:
    """A weighted sum: a convolution, or a dense operator as the convolution over the whole map that it is."""

    source: int  # number of the map
    weights: Words | Bytes
    outputs: int
    bits: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    factor: int  # code = factor * q - offset
    offset: int
    counters: int  # planes that hold sum(q * x)
    as_bytes: bool  # int8 weights that are multiplied, instead of planes that are counted
    kept_bits: int  # of an A that may be kept, 0 where the source is not static
    largest: Largest | None  # windows of sums, of which the largest counts
    places: int = 1  # at which it is computed
    kept_at: int = 0

    @property
    def scratch_words(self) -> int:
        """Counters of one place, or the sums themselves; behind them the largest ones."""
        return self.counter_words + (0 if self.largest is None else self.outputs)

    @property
    def counter_words(self) -> int:
        """Without the largest ones."""
        return self.outputs if self.as_bytes else words_of(self.outputs) * self.counters


@dataclass(eq=False)
class Skip:
    """A plain skip; entries of the map are place * channels + channel of the source, or -1."""

    source: int
    stride: int
    map: tuple[int, ...] | None


@dataclass(eq=False)
class Layer:
    """A spiking layer with its operands and its place in the arena."""

    node: Spiking
    sum: Sum
    skip_sum: Sum | None
    skip: Skip | None
    membrane_bits: int
    membrane_words: int
    membrane_at: int = 0

    @property
    def is_dense(self) -> bool:
        """Whether its values are features, not a map."""
        return isinstance(self.node.operator, Dense)


@dataclass(eq=False)
class Window:
    """A pool, its window resolved."""

    node: Pool
    source: int
    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(eq=False)
class Answer:
    """The readout."""

    node: Readout
    sum: Sum


@dataclass(eq=False)
class Step:
    """One thing that is done in a time step."""

    what: Layer | Window | Answer
    reads: tuple[int, ...]  # numbers of maps
    makes: int | None

    @property
    def name(self) -> str:
        """The node's."""
        return self.what.node.name


@dataclass(frozen=True)
class Place:
    """Where a node's values are found: a map, perhaps read as features in the order channel, row, column."""

    map: int
    flat: bool


@dataclass(eq=False)
class Plan:
    """Everything the C sources say."""

    graph: Graph
    maps: list[Map]
    steps: list[Step]
    values: dict[str, Place]  # by node; the input's is the frame, the readout has none
    state_words: int = 0
    scratch_at: int = 0
    skip_scratch_at: int = 0
    arena_words: int = 0
    arena_words_reuse: int = 0

    @property
    def layers(self) -> list[Layer]:
        """The spiking layers, in order."""
        return [step.what for step in self.steps if isinstance(step.what, Layer)]

    @property
    def sums(self) -> list[Sum]:
        """All weighted sums, in order."""
        found: list[Sum] = []
        for step in self.steps:
            if isinstance(step.what, Layer):
                found += [step.what.sum, *([step.what.skip_sum] if step.what.skip_sum else [])]
            elif isinstance(step.what, Answer):
                found.append(step.what.sum)
        return found


def words_of(bits: int) -> int:
    """32-bit words that hold so many bits."""
    return (bits + 31) // 32
