"""`ChannelScores`: what a criterion says of the channels of one layer, and the order that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

TIE_DECIMALS = 9
"""Sums of singular values are compared at so many decimals: maps that are one another's permutations have equal sums,
but only to rounding, and which of them goes first must not depend on a machine's order of addition."""


@dataclass(frozen=True, eq=False)
class ChannelScores:
    """Scores of a layer's channels, float64 [C]; the lower, the sooner a channel goes.

    primary: the criterion's score, as published.
    tie:     what decides between channels of equal primary score; None where the criterion has nothing.
    """

    primary: Tensor
    tie: Tensor | None = None

    def __post_init__(self) -> None:
        if self.primary.dim() != 1 or (self.tie is not None and self.tie.shape != self.primary.shape):
            shapes = [list(self.primary.shape), None if self.tie is None else list(self.tie.shape)]
            raise ValueError(f"primary and tie have shapes {shapes[0]} and {shapes[1]}; each is [channels]")

    def __len__(self) -> int:
        return len(self.primary)

    @staticmethod
    def of(columns: Tensor) -> ChannelScores:
        """From a criterion's columns [C, 1 or 2]: the score, and what decides at equal scores."""
        columns = columns.to("cpu", torch.float64)
        tie = columns[:, 1].round(decimals=TIE_DECIMALS) if columns.shape[1] > 1 else None
        return ChannelScores(columns[:, 0].clone(), tie)

    def order(self) -> Tensor:
        """Channel numbers (int64 [C]) from the least important to the most important.

        By primary score, then by tie, then by number: of two channels that nothing tells apart the lower one stays.
        """
        numbers = np.arange(len(self))
        keys = [-numbers, self.primary.numpy()]
        if self.tie is not None:
            keys.insert(1, self.tie.numpy())
        return torch.from_numpy(np.lexsort(keys))

    def lowest(self, channels: int) -> Tensor:
        """The numbers of the channels that go first, so many of them, the least important one in front."""
        if isinstance(channels, bool) or not isinstance(channels, int) or not 0 <= channels <= len(self):
            raise ValueError(f"{channels!r} channels were asked for; allowed: a whole number from 0 to {len(self)}")
        return self.order()[:channels]
