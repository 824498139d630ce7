"""Interleaved timing: every round asks every participant once, so that a busy minute touches all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Series:
    """The medians of one participant's rounds, in milliseconds, and how many calls they stand on."""

    rounds: list[float] = field(default_factory=list)
    calls: int = 0

    @property
    def median(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(self.rounds)


def interleave(
    participants: Mapping[str, Callable[[], Mapping[str, Any]]],
    rounds: int,
    after_round: Callable[[int], None] = lambda _: None,
) -> dict[str, Series]:
    """Time all participants in every round; the first of a round is another one each time.

    participants: name -> a function that times itself and gives {"ms": [...], "calls": n}.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; give 1 or more")
    series = {name: Series() for name in participants}
    names = list(participants)
    for number in range(rounds):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            answer = participants[name]()
            series[name].rounds.append(statistics.median(answer["ms"]))
            series[name].calls += answer["calls"]
        after_round(number)
    return series


def round_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Their time over ours, round by round."""
    return [their / our for our, their in zip(ours, theirs, strict=True)]
