"""How many channels stay, from ratios that are given by name."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from bitspike.block import Readout, SpikingBlock, blocks_of
from bitspike.cost import kept_channels


@runtime_checkable
class Ranked(Protocol):
    """What scoring makes of a block: its channels in the order in which they may go."""

    def order(self) -> Tensor:
        """Numbers of all channels, from the least to the most important."""


Order = Ranked | Tensor | Sequence[int]


def prunable_channels(net: nn.Module) -> dict[str, int]:
    """Names and numbers of output channels of the blocks that can lose some: all spiking ones but classes' own neurons.

    Those are in networks of other libraries that end in spiking neurons, whose readout only counts.
    """
    found: dict[str, int] = {}
    spiking = ""
    for name, block in blocks_of(net):
        if isinstance(block, SpikingBlock):
            found[name], spiking = block.out_channels, name
        elif isinstance(block, Readout) and spiking and _only_counts(block.weight):
            del found[spiking]
    if not found:
        raise ValueError(
            "the network holds no spiking block, so there is nothing to prune; build it from bitspike.block"
            if not spiking
            else f"the neurons of {spiking} are the classes, which stay, and there are no others to prune"
        )
    return found


def _only_counts(weight: Tensor) -> bool:
    """Whether every feature is one class's own, all of the same weight: [K, features]."""
    used = weight.detach() != 0
    return bool((used.sum(0) == 1).all()) and bool((weight.detach()[used] == weight.detach()[used][0]).all())


def channel_counts(
    net: nn.Module, ratios: Mapping[str, float], *, protect: Sequence[str] = (), multiple_of: int = 1
) -> dict[str, int]:
    """How many channels every spiking block keeps: floor(channels * (1 - ratio)).

    ratios: shell pattern of block names -> share that goes, 0 to below 1; the first pattern that matches a block wins,
        and a block that none matches keeps all. protect: names or patterns of blocks that keep all in any case.
    A ratio counts as the simple fraction nearest to it (`cost.kept_channels`), so 0.9 of 10 channels leaves 1, not 0.
    multiple_of: what stays is rounded up to a multiple of this, or to all channels where a block has no more.
    """
    refuse_no_multiple(multiple_of)
    channels = prunable_channels(net)
    for pattern in ratios:
        refuse_unmatched("ratios", pattern, channels)
    _refuse_idle(ratios, channels)
    safe = protected(channels, protect)
    counts = dict(channels)
    for name, number in channels.items():
        matching = [pattern for pattern in ratios if fnmatch.fnmatchcase(name, pattern)]
        if not matching or name in safe:
            continue
        pattern = matching[0]
        try:
            counts[name] = kept_channels(number, ratios[pattern])
        except (TypeError, ValueError):
            raise ValueError(
                f"ratios[{pattern!r}] is {ratios[pattern]!r}; allowed: a share from 0 to below 1"
            ) from None
        if counts[name] == 0:
            raise ValueError(
                f"a ratio of {ratios[pattern]} would leave none of the {number} channels of {name}; "
                f"give at most {1 - 1 / number:.3g}"
            )
        counts[name] = min(number, -(-counts[name] // multiple_of) * multiple_of)
    if multiple_of > 1 and counts == channels and any(ratios.values()):
        raise ValueError(f"in multiples of {multiple_of} no layer would lose a channel; give a smaller multiple_of")
    return counts


def refuse_no_multiple(multiple_of: int) -> None:
    """Raise unless it is a whole number of channels."""
    if isinstance(multiple_of, bool) or not isinstance(multiple_of, int) or multiple_of < 1:
        raise ValueError(f"multiple_of is {multiple_of!r}; give a whole number of channels, 1 or more")


def _refuse_idle(ratios: Mapping[str, float], channels: Mapping[str, int]) -> None:
    """A pattern all of whose blocks belong to those before it would be ignored without a word."""
    free = set(channels)
    for pattern in ratios:
        matching = {name for name in channels if fnmatch.fnmatchcase(name, pattern)}
        if not matching & free:
            raise ValueError(
                f"ratios: {pattern!r} decides nothing, since the first pattern that matches a block wins and others "
                "before it match all of its blocks; put it in front of them"
            )
        free -= matching


def protected(channels: Mapping[str, int], protect: Sequence[str]) -> set[str]:
    """Names of the blocks that keep all their channels; a pattern that matches none is refused."""
    patterns = [protect] if isinstance(protect, str) else list(protect)
    for pattern in patterns:
        refuse_unmatched("protect", pattern, channels)
    return {name for name in channels if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


def refuse_unmatched(argument: str, pattern: str, channels: Mapping[str, int]) -> None:
    """A typing error in a pattern would silently change what is pruned."""
    if not any(fnmatch.fnmatchcase(name, pattern) for name in channels):
        raise ValueError(f"{argument}: {pattern!r} matches no spiking block; they are {', '.join(channels)}")


def refuse_unknown_orders(channels: Mapping[str, int], orders: Mapping[str, Order]) -> None:
    """A typing error in a name would silently leave a block whole."""
    for name in orders:
        if name not in channels:
            raise ValueError(f"orders names {name!r}, which is no spiking block; they are {', '.join(channels)}")


def channel_order(name: str, order: Order, channels: int) -> list[int]:
    """The channels of a block from the least to the most important, checked to be all of them."""
    given = order.order() if isinstance(order, Ranked) else order
    numbers = [int(number) for number in given]
    if sorted(numbers) != list(range(channels)):
        raise ValueError(f"the order of {name} does not name each of its {channels} channels once")
    return numbers


def keep_lists(
    channels: Mapping[str, int], orders: Mapping[str, Order], counts: Mapping[str, int]
) -> dict[str, list[int]]:
    """The channels that stay in every block that loses some: the most important ones, ascending."""
    keep = {}
    for name, count in counts.items():
        if count == channels[name]:
            continue
        if name not in orders:
            raise ValueError(f"{name} is to lose channels, but no order of them was given; score it, or protect it")
        order = channel_order(name, orders[name], channels[name])
        keep[name] = sorted(order[channels[name] - count :])
    return keep
