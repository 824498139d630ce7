"""Which candidate is the best one: a reward, or a bound on accuracy.

With m = memory / float memory, A the accuracy and A0 the float network's:

    additive   A - mu m                   Q-SpiNN's form as its authors' later papers have it
    product    (1 - m) (1 - (A0 - A))     the saving times what the loss of accuracy leaves of it, another reading
    within     the least memory with A >= A0 - loss + margin

The margin is one standard error of the accuracy on the validation samples, sqrt(A' (1 - A') / n'), unless told; A' and
n' count two right and two wrong samples more (Agresti and Coull), so that 100 % of a few samples has one as well. The
smallest of many candidates that reach a bound exactly was lucky there, and loses more on other samples.

The Q-SpiNN paper was not at hand in full, so both readings of its reward are here. Ties go to the higher accuracy,
then the lower number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

REWARDS = ("additive", "product")
DEFAULT_MU = 0.1


class Measured(Protocol):
    """What is known of a finished candidate."""

    number: int
    accuracy: float
    memory: int


@dataclass(frozen=True)
class Baseline:
    """The float network on the same validation samples."""

    accuracy: float
    memory: int
    samples: int = 0

    @property
    def standard_error(self) -> float:
        """Of the accuracy, for so many samples; 0 where their number is not known."""
        if not self.samples:
            return 0.0
        samples = self.samples + 4
        share = (self.accuracy * self.samples + 2) / samples
        return math.sqrt(share * (1 - share) / samples)


def reward(found: Measured, baseline: Baseline, form: str = "additive", mu: float = DEFAULT_MU) -> float:
    """The reward of a candidate; mu says how much accuracy the whole memory of the float network is worth."""
    if form not in REWARDS:
        raise ValueError(f"reward is {form!r}; allowed: {', '.join(REWARDS)}")
    if not mu >= 0:
        raise ValueError(f"mu is {mu}; allowed: 0 and above")
    share = found.memory / baseline.memory
    if form == "additive":
        return found.accuracy - mu * share
    return (1 - share) * (1 - (baseline.accuracy - found.accuracy))


def by_reward(rows: Sequence[Any], baseline: Baseline, form: str = "additive", mu: float = DEFAULT_MU) -> Any:
    """The row with the largest reward."""
    if not rows:
        raise ValueError("no candidate is finished yet, so none can be picked")
    return max(rows, key=lambda row: (reward(row, baseline, form, mu), row.accuracy, -row.number))


def smallest_within(rows: Sequence[Any], baseline: Baseline, loss: float, margin: float | None = None) -> Any:
    """The row of least memory that loses at most `loss` (a fraction: 0.01 is one point) against the float network.

    margin: how much better than that it has to be; None: one standard error of the validation accuracy. Where no
    candidate meets the bound, the error names the nearest.
    """
    if not 0 <= loss < 1:
        raise ValueError(f"the loss is {loss}; allowed: 0 up to less than 1, 0.01 for one point of accuracy")
    if not rows:
        raise ValueError("no candidate is finished yet, so none can be picked")
    extra = baseline.standard_error if margin is None else margin
    if not 0 <= extra < 1:
        raise ValueError(f"the margin is {extra}; allowed: 0 up to less than 1, 0.005 for half a point")
    bound = baseline.accuracy - loss + extra
    good = [row for row in rows if row.accuracy >= bound]
    if not good:
        near = max(rows, key=lambda row: (row.accuracy, -row.memory, -row.number))
        raise ValueError(
            f"no candidate reaches {100 * bound:.2f} % ({100 * loss:g} points below the float network's "
            f"{100 * baseline.accuracy:.2f} %, {100 * extra:.2f} of margin); the nearest is number {near.number} with "
            f"{100 * near.accuracy:.2f} % and {near.memory:,} bytes"
        )
    return min(good, key=lambda row: (row.memory, -row.accuracy, row.number))
