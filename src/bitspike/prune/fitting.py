"""How many channels stay so that a network meets a target.

All removals stand in one line: the k-th channel to go of a layer with c channels stands at k / c, and layers that stand
level follow each other as in the network. The first n of that line go, so all layers lose the same share, to within one
channel. n is found by bisection over predicted costs and then by measuring the network that would be left. A layer
keeps at least a given share of its channels. So the target decides how many go, and the scores decide which.
Where only multiples of some number of channels are wanted, those to the next multiple go at once.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from torch import nn

from bitspike.cost import LayerCost
from bitspike.measuring import describe
from bitspike.prune.course import course
from bitspike.prune.plan import Change, plan
from bitspike.prune.ratios import (
    Order,
    keep_lists,
    protected,
    prunable_channels,
    refuse_no_multiple,
    refuse_unknown_orders,
)
from bitspike.prune.removal import remove_
from bitspike.prune.target import Target

KEEP_AT_LEAST = 0.1
"""The share of a layer's channels that a target leaves in it, unless told otherwise."""


def for_target(
    net: nn.Module,
    orders: Mapping[str, Order],
    target: Target,
    *,
    protect: Sequence[str] = (),
    keep_at_least: float = KEEP_AT_LEAST,
    multiple_of: int = 1,
) -> dict[str, int]:
    """How many channels every spiking block keeps so that the network measures at most `target`.

    orders: block name -> its channels from the least to the most important; blocks without one, and those that
        `protect` names, keep all. keep_at_least: share of its channels that every layer keeps, and at least one.
    multiple_of: a layer keeps all its channels or a multiple of this.
    One step back of the layer that lost the last channels would be too much. The network itself is not changed.
    """
    channels = prunable_channels(net)
    refuse_unknown_orders(channels, orders)
    safe = protected(channels, protect)
    line = _line(
        {name: number for name, number in channels.items() if name in orders and name not in safe},
        keep_at_least,
        multiple_of,
    )
    way, whole = course(net), describe(net)
    time_steps = way.steps[0].shape[0]
    limit = target.limit(whole, time_steps)

    def counts(number: int) -> dict[str, int]:
        found = dict(channels)
        found.update(line[:number])  # of several removals from a layer the last one holds
        return found

    def predicted(number: int) -> int:
        keep = keep_lists(channels, orders, counts(number))
        changes = plan(way, {name: tuple(stay) for name, stay in keep.items()})
        rows = [_shrunk(row, changes[_block_of(row)]) for row in whole]
        return target.cost(rows, time_steps)

    def measured(number: int) -> int:
        left = copy.deepcopy(net)
        remove_(left, keep_lists(channels, orders, counts(number)))
        return target.cost(describe(left), time_steps)

    return counts(_first_that_fits(len(line), limit, predicted, measured))


def _first_that_fits(last: int, limit: float, predicted: Callable[[int], int], measured: Callable[[int], int]) -> int:
    """The number of removals that meets the limit where one less does not."""
    known: dict[int, int] = {}

    def fits(number: int) -> bool:
        if number not in known:
            known[number] = measured(number)
        return known[number] <= limit

    number, error = -1, 0
    while number not in known:
        number = _bisected(last, limit - error, predicted)
        if fits(number) and number == 0:
            return 0
        error = known[number] - predicted(number)  # the bytes of per-channel integers depend on their values
    while not fits(number):
        if number == last:
            raise ValueError(
                f"the target of {limit:,.0f} cannot be met: {known[last]:,} would be left where every layer that may "
                "lose channels has lost all it may; protect fewer layers or lower keep_at_least or multiple_of"
            )
        number += 1
    while number and fits(number - 1):
        number -= 1
    return number


def _bisected(last: int, limit: float, cost: Callable[[int], int]) -> int:
    """The smallest number whose cost is within the limit; the last one where none is."""
    low, high = 0, last
    while low < high:
        middle = (low + high) // 2
        if cost(middle) <= limit:
            high = middle
        else:
            low = middle + 1
    return high


def _block_of(row: LayerCost) -> str:
    """The name of the block that a row is about; a block may itself be called skip."""
    name = row.name.removesuffix(".skip") if row.kind == "skip" else row.name
    return name.split("#")[0]


def _shrunk(row: LayerCost, change: Change) -> LayerCost:
    """A layer's row after a change; exact but for the bytes of the per-channel integers."""
    inputs = change.inputs if row.kind != "skip" or change.skip_inputs is None else change.skip_inputs
    before, after = change.outputs.channels, len(change.outputs.stay)
    shape, left = before * inputs.channels, after * len(inputs.stay)
    return replace(
        row,
        weights=row.weights // shape * left,
        macs=row.macs // shape * left,
        biases=row.biases // before * after,
        norms=row.norms // before * after,
        neurons=row.neurons // before * after,
        integer_bytes=-(-row.integer_bytes * after // before),
    )


def _line(channels: Mapping[str, int], keep_at_least: float, multiple_of: int) -> list[tuple[str, int]]:
    """Removals in the order in which they are done: a layer, and how many of its channels are left then."""
    refuse_no_multiple(multiple_of)
    if not 0 <= keep_at_least <= 1:
        raise ValueError(f"keep_at_least is {keep_at_least}; give a share of the channels, 0 to 1")
    share = Fraction(keep_at_least).limit_denominator(10**6)
    removals = [
        (Fraction(count - left, count), position, name, left)
        for position, (name, count) in enumerate(channels.items())
        for left in range(max(1, math.ceil(count * share)), count)
        if left % multiple_of == 0
    ]
    return [(name, left) for _, _, name, left in sorted(removals)]
