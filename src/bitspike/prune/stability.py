"""`stability`: how much the scores of channels depend on the batch they were taken from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bitspike.data import Dataset
from bitspike.drawing import generator
from bitspike.prune.criteria import EPSILON, find_criterion
from bitspike.prune.ranking import ChannelScores
from bitspike.prune.scores import batch_sums

Item = TypeVar("Item")


@dataclass(frozen=True)
class LayerStability:
    """How well the scores of single batches agree, each a mean over all pairs of batches, 1 at best.

    cosine:          of the vectors of primary scores, as QP-SNN measures it; near 1 for any scores that vary little.
    overlap:         |A and B| / |A or B| of the lower halves of the channels; about 1/3 for scores without meaning.
    primary_overlap: the same where the primary score decides alone, equal channels in random order.
    """

    cosine: float
    overlap: float
    primary_overlap: float


@dataclass(frozen=True)
class Stability:
    """The agreement of single batches' scores, by layer; the figures of the whole are those of the worst layer."""

    criterion: str
    layers: dict[str, LayerStability]

    @property
    def cosine(self) -> float:
        """The least mean cosine of any layer."""
        return min(layer.cosine for layer in self.layers.values())

    @property
    def overlap(self) -> float:
        """The least mean overlap of any layer."""
        return min(layer.overlap for layer in self.layers.values())

    @property
    def primary_overlap(self) -> float:
        """The least mean overlap of any layer where the primary score decides alone."""
        return min(layer.primary_overlap for layer in self.layers.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        whole = {name: getattr(self, name) for name in ("cosine", "overlap", "primary_overlap")}
        layers = {name: asdict(layer) for name, layer in self.layers.items()}
        return {"criterion": self.criterion, **whole, "layers": layers}


def stability(
    net: nn.Module,
    data: Dataset,
    *,
    criterion: str = "svs",
    batches: int = 5,
    batch: int = 128,
    seed: int = 0,
    epsilon: float = EPSILON,
) -> Stability:
    """mean over pairs of batches (i, j) of cos(score_i, score_j), and of the overlap of their lower halves, by layer.

    The batches are those of `channel_scores` with the same arguments, and so is the one pass over them.
    """
    found = find_criterion(criterion)
    if found.of_run is None:
        raise ValueError(f"{criterion!r} looks at no samples, so its scores do not vary with them; there is no figure")
    if batches == 1:
        raise ValueError("stability compares batches with each other; batches is 1, it must be 2 or more")
    seen: dict[str, list[ChannelScores]] = {}
    for part in batch_sums(net, data, found, batches, batch, seed, epsilon, owner="stability"):
        for name, sums in part.items():
            seen.setdefault(name, []).append(sums.scores(name))
    return Stability(criterion, {name: agreement(scores, seed) for name, scores in seen.items()})


def agreement(scores: list[ChannelScores], seed: int = 0) -> LayerStability:
    """The figures of one layer from its scores of two or more batches."""
    primary = [ChannelScores(one.primary) for one in scores]
    return LayerStability(
        _mean_of_pairs(_cosine, [one.primary for one in scores]),
        _mean_of_pairs(_overlap, _lower_halves(scores, seed)),
        _mean_of_pairs(_overlap, _lower_halves(primary, seed)),
    )


def _mean_of_pairs(figure: Callable[[Item, Item], float], items: list[Item]) -> float:
    pairs = [figure(one, other) for one, other in combinations(items, 2)]
    return sum(pairs) / len(pairs)


def _cosine(one: Tensor, other: Tensor) -> float:
    """Two silent layers agree, a silent one and another do not."""
    norms = float(one.norm() * other.norm())
    if norms == 0:
        return float(torch.equal(one, other))
    return min(1.0, float(one @ other) / norms)


def _lower_halves(scores: list[ChannelScores], seed: int) -> list[set[int]]:
    """The half of the channels that would go first in every batch, or one channel of one.

    The channel's number, the last resort of `ChannelScores.order`, is the same in all batches, so it would show as
    agreement; here another permutation of the channels stands in for it in each.
    """
    halves = []
    for place, one in enumerate(scores):
        shuffled = torch.randperm(len(one), generator=generator(seed, "equal channels", str(place)))
        tie = None if one.tie is None else one.tie[shuffled]
        first = ChannelScores(one.primary[shuffled], tie).lowest(max(1, len(one) // 2))
        halves.append(set(shuffled[first].tolist()))
    return halves


def _overlap(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other)
