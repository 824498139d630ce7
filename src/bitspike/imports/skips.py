"""The side path of a sum, as a block's skip: spikes as they are, or through one convolution and its batch norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitspike.imports.layers import CannotImport, Joining, Norm, Nothing, Weighted


@dataclass(frozen=True)
class Place:
    """What a layer gives: our layer's name, the shape, the value of one unit, and what they are (spikes, counts)."""

    table: str
    shape: tuple[int, ...]
    scale: float
    values: str


@dataclass(frozen=True)
class Side:
    """A side path from a place; weights None: its spikes join as they are."""

    name: str
    place: Place
    weights: Weighted | None
    norm: Norm | None
    sources: tuple[str, ...]

    def table(self, *, own: bool) -> dict[str, Any]:
        """What the block's table says of it; own: whether it keeps its batch norm."""
        if self.weights is None:
            return {"from": self.place.table}
        found: dict[str, Any] = {"from": self.place.table, "kernel": self.weights.weight.shape[2]}
        found |= {"stride": self.weights.stride[0], "norm": "own" if own else "shared"}
        return found | ({"eps": self.norm.eps} if own and self.norm is not None else {})


def side_of(layer: Joining, place: Place | None) -> Side:
    """The side path of a sum from a place among our layers; refused by name where a skip cannot be it."""
    if layer.origin is None:
        raise CannotImport(layer.name, "adds the input, which is no spikes; put a layer with neurons first")
    if place is None:
        raise CannotImport(layer.name, f"adds what {layer.origin} gives, which has not gone through neurons yet")
    weights: Weighted | None = None
    norm: Norm | None = None
    for part in layer.side:
        match part:
            case Nothing():
                pass
            case Weighted() if weights is None:
                weights = part
            case Norm() if weights is not None and norm is None:
                norm = part
            case _:
                raise CannotImport(part.name, f"is on a side path of {layer.name}; one convolution and its norm can be")
    if weights is None and place.values != "spikes":
        raise CannotImport(layer.name, f"adds what {layer.origin} gives as it is; only spikes can be, no averages")
    if weights is not None:
        _check(weights, place)
    names = tuple(part.name for part in layer.side if not isinstance(part, Nothing))
    return Side(layer.name, place, weights, norm, names)


def _check(weights: Weighted, place: Place) -> None:
    """Skips have square windows, padded by half of them."""
    if not weights.is_convolution or len(place.shape) != 3:
        raise CannotImport(weights.name, "is a linear map on a side path; only convolutions can be there")
    height, width = weights.weight.shape[2:]
    square = height == width and weights.stride[0] == weights.stride[1]
    if not square or weights.padding != (height // 2, width // 2):
        raise CannotImport(
            weights.name,
            f"is on a side path with kernel {[height, width]}, stride {list(weights.stride)} and padding "
            f"{list(weights.padding)}; a skip's are square, and its padding is half the kernel",
        )
