"""`prune_`: from scores over counts to a smaller network, in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from torch import nn

from bitspike.cost import LayerCost, memory
from bitspike.data import Dataset
from bitspike.measuring import describe
from bitspike.prune.fitting import KEEP_AT_LEAST, for_target
from bitspike.prune.presets import PRESETS
from bitspike.prune.ratios import Order, channel_counts, keep_lists, prunable_channels, refuse_unknown_orders
from bitspike.prune.removal import remove_
from bitspike.prune.scores import channel_scores
from bitspike.prune.target import Target
from bitspike.wording import columns, percent, size


@dataclass(frozen=True)
class PrunedLayer:
    """One spiking block: channels before and after, and the share that went."""

    name: str
    before: int
    after: int

    @property
    def ratio(self) -> float:
        """The share of the channels that went."""
        return 1 - self.after / self.before


@dataclass(frozen=True)
class PruneReport:
    """What changed and what was left alone; memory is `measure(net).memory.total`, in bytes."""

    layers: tuple[PrunedLayer, ...]
    parameters_before: int
    parameters_after: int
    memory_before: int
    memory_after: int

    COLUMNS: ClassVar = ("layer", "channels", "left", "gone")

    def __str__(self) -> str:
        return f"{columns(self.COLUMNS, self.lines())}\n{self.totals()}"

    def lines(self) -> list[tuple[str, ...]]:
        """One a layer, under `COLUMNS`."""
        return [(layer.name, str(layer.before), str(layer.after), percent(layer.ratio)) for layer in self.layers]

    def totals(self) -> str:
        """Parameters and memory, before and after."""
        return (
            f"parameters {self.parameters_before:,} -> {self.parameters_after:,}, "
            f"memory {size(self.memory_before)} -> {size(self.memory_after)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        layers = [asdict(layer) | {"ratio": layer.ratio} for layer in self.layers]
        return asdict(self) | {"layers": layers}


def prune_(
    net: nn.Module,
    data: Dataset | None = None,
    *,
    ratios: float | str | Mapping[str, float] | None = None,
    target: Target | Mapping[str, float] | None = None,
    criterion: str = "svs",
    protect: Sequence[str] = (),
    keep_at_least: float = KEEP_AT_LEAST,
    multiple_of: int = 1,
    orders: Mapping[str, Order] | None = None,
    batches: int = 5,
    batch: int = 128,
    seed: int = 0,
) -> PruneReport:
    """Remove the least important channels of a network, in place; fine-tune it afterwards.

    ratios: one share for all spiking blocks, a table of them by pattern of names (`channel_counts`), or the name of
        one of `PRESETS`; or else target: a `Target`, or a table such as {"memory": 500_000} (`for_target`).
    criterion, data, batches, batch, seed: how channels are scored. orders: block name -> its channels from the least
        to the most important, where they are known already; nothing is scored then.
    protect: names or patterns of blocks that keep all; keep_at_least: share of every block that a target leaves.
    multiple_of: blocks keep all their channels or a multiple of this; 32 fills a word of the exported C, 64 a vector.
    If anything is refused, nothing is changed.
    """
    if (ratios is None) == (target is None):
        raise ValueError("prune_ takes either ratios, how much of every layer goes, or a target, what may be left")
    channels = prunable_channels(net)
    budget = None if target is None else Target.of(target)
    counts = (
        {} if ratios is None else channel_counts(net, _table(net, ratios), protect=protect, multiple_of=multiple_of)
    )
    if orders is not None:
        refuse_unknown_orders(channels, orders)
    else:
        orders = channel_scores(net, data, criterion=criterion, batches=batches, batch=batch, seed=seed)
    if budget is not None:
        counts = for_target(net, orders, budget, protect=protect, keep_at_least=keep_at_least, multiple_of=multiple_of)
    return keep_(net, keep_lists(channels, orders, counts))


def keep_(net: nn.Module, keep: Mapping[str, Sequence[int]]) -> PruneReport:
    """`remove_` with the report of `prune_`: only the channels that `keep` names stay in the blocks that it names."""
    before, channels = describe(net), prunable_channels(net)
    remove_(net, keep)
    after, left = describe(net), prunable_channels(net)
    layers = tuple(PrunedLayer(name, channels[name], left[name]) for name in channels)
    return PruneReport(layers, _parameters(before), _parameters(after), memory(before).total, memory(after).total)


def _table(net: nn.Module, ratios: float | str | Mapping[str, float]) -> Mapping[str, float]:
    if isinstance(ratios, Mapping):
        return ratios
    if not isinstance(ratios, str):
        return {"*": ratios}
    if ratios not in PRESETS:
        raise ValueError(f"there are no ratios named {ratios!r}; there are {', '.join(PRESETS)}")
    model = getattr(net, "model_name", None)
    if model not in (None, PRESETS[ratios].model):
        raise ValueError(f"the ratios {ratios!r} are for the model {PRESETS[ratios].model}; the network is a {model}")
    return PRESETS[ratios].ratios


def _parameters(rows: Sequence[LayerCost]) -> int:
    return sum(row.parameters for row in rows)
