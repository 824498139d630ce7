"""From layers and what each of them reads to one chain, in which a sum of two ways is a layer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bitspike.imports.layers import CannotImport, Joining, Layer, Norm, Nothing, Seen, Weighted

INPUT = -1
"""Instead of a layer's number: the network's input."""


@dataclass(frozen=True)
class Wired:
    """A layer, what it gave, and the numbers of those whose results it reads. layer None: the sum of two results."""

    layer: Layer | None
    result: Tensor
    reads: tuple[int, ...]


def as_chain(nodes: Sequence[Wired], last: int) -> list[Seen]:
    """The layers on the way from the input to the last one, in order; every node has to be on it, or join it in a sum.

    nodes: each reads only those before it; last: the number of the one whose result is the network's.
    """
    found: list[Seen] = []
    used: set[int] = set()
    at, reader = last, "the end"
    while at != INPUT:
        node = nodes[at]
        used.add(at)
        if node.layer is not None:
            found.append(Seen(node.layer, node.result))
            at, reader = node.reads[0], node.layer.name
            continue
        name = f"the sum before {reader}"
        onward, side, origin = _parted(nodes, node.reads, name)
        used |= set(side)
        source = None if origin == INPUT else _name(nodes, origin, name)
        found.append(Seen(Joining(name, source, tuple(_layer(nodes, number) for number in side)), node.result))
        at, reader = onward, name
    for number, node in enumerate(nodes):
        if number not in used and node.layer is not None:
            raise CannotImport(node.layer.name, "gives what nothing on the way to the last layer reads; leave it out")
    return found[::-1]


def _parted(nodes: Sequence[Wired], reads: tuple[int, ...], name: str) -> tuple[int, list[int], int]:
    """Of the two summands of a sum: where the chain goes on, and the numbers of the side path with its origin."""
    ways = []
    for this, other in (reads[::-1], reads):  # the second summand is the side path where both could be
        side, origin = _until(nodes, this, _all_before(nodes, other))
        if any(nodes[number].layer is None for number in side):
            continue
        plain = all(isinstance(_layer(nodes, number), Weighted | Norm | Nothing) for number in side)
        weights = sum(_size(nodes, number) for number in side)
        ways.append((not plain, weights, other, side, origin))
    if not ways:
        raise CannotImport(name, "adds two sums; put spiking neurons between")
    _, _, onward, side, origin = min(ways, key=lambda way: way[:2])
    return onward, side, origin


def _until(nodes: Sequence[Wired], start: int, common: set[int]) -> tuple[list[int], int]:
    """From a summand back to where the other one comes from too: the layers between, in order, and that place."""
    side, at = [], start
    while at not in common:
        side.append(at)
        at = nodes[at].reads[0]
    return side[::-1], at


def _all_before(nodes: Sequence[Wired], start: int) -> set[int]:
    """Everything that a result depends on, itself included."""
    found, left = {INPUT}, [start]
    while left:
        at = left.pop()
        if at not in found:
            found.add(at)
            left += nodes[at].reads
    return found


def _layer(nodes: Sequence[Wired], number: int) -> Layer:
    layer = nodes[number].layer
    if layer is None:
        raise ValueError(f"node {number} is a sum")
    return layer


def _name(nodes: Sequence[Wired], number: int, name: str) -> str:
    """What a sum's origin is called; refused where that is a sum itself."""
    layer = nodes[number].layer
    if layer is None:
        raise CannotImport(
            name,
            "adds what is a sum itself, of spikes (as in SEW's blocks) or of potentials; only neurons' spikes, or a "
            "convolution of them, can be added",
        )
    return layer.name


def _size(nodes: Sequence[Wired], number: int) -> int:
    layer = nodes[number].layer
    return layer.weight.numel() if isinstance(layer, Weighted) else 0
