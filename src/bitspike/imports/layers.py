"""What a network trained elsewhere consists of, in one vocabulary for all of them; values are float64.

One step of a neuron, of whatever library:

    h[t] = leak * u[t-1] + gain * i[t] + drive
    s[t] = h[t] > threshold (strict), or >=
    u[t] = 0 where s[t], else h[t]     (hard);     h[t] - ratio * threshold * s[t]     (soft)
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor


class CannotImport(ValueError):
    """A layer that no network of blocks can be equal to; the message names it and says what to do."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name or 'the network'} {why}")


@dataclass(frozen=True)
class Weighted:
    """A convolution (weight [C_out, C_in, height, width]) or a linear map (weight [C_out, C_in])."""

    name: str
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    @property
    def is_convolution(self) -> bool:
        """Whether it moves over maps."""
        return self.weight.dim() == 4


@dataclass(frozen=True)
class Norm:
    """A batch norm with running statistics; all [C]."""

    name: str
    gamma: Tensor
    beta: Tensor
    mean: Tensor
    variance: Tensor
    eps: float


@dataclass(frozen=True)
class Neuron:
    """Integrate-and-fire neurons. gain, drive and threshold: a number, [C], or one per neuron.

    note: what the user should know of how it was carried over.
    """

    name: str
    leak: Fraction
    threshold: Tensor
    gain: Tensor
    drive: Tensor
    hard: bool
    ratio: float = 1.0
    strict: bool = True
    note: str = ""


@dataclass(frozen=True)
class Pooling:
    """Pooling over windows; kernel None is the whole map."""

    name: str
    kind: str  # max | sum | average
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    padding: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Flattening:
    """Maps to rows, channel after channel."""

    name: str


@dataclass(frozen=True)
class Voting:
    """The mean of every `size` neighbouring features."""

    name: str
    size: int


@dataclass(frozen=True)
class Scaling:
    """Values times a factor: a number, [C], or one for each value."""

    name: str
    factor: Tensor


@dataclass(frozen=True)
class Nothing:
    """A layer that changes nothing where a network is used: dropout, identity."""

    name: str


@dataclass(frozen=True)
class Joining:
    """A sum: what comes down the chain, and what `origin` gave (None: the input) through the layers of `side`."""

    name: str
    origin: str | None
    side: tuple[Layer, ...]


Layer = Weighted | Norm | Neuron | Pooling | Flattening | Voting | Scaling | Nothing | Joining


def refuse_not_finite(layer: Layer) -> Layer:
    """The layer, if all its numbers are numbers."""
    for value in vars(layer).values():
        if isinstance(value, Tensor) and not bool(value.isfinite().all()):
            raise CannotImport(layer.name, "holds numbers that are NaN or infinite; did its training diverge?")
    return layer


@dataclass(frozen=True)
class Seen:
    """A layer and what it gave on the test batch, [T, B, ...] in float64."""

    layer: Layer
    result: Tensor
