"""The candidate that was chosen, made again: tested once, certified, saved."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import Any

from bitspike.data import Dataset
from bitspike.explore.evaluate import Subject, make_candidate
from bitspike.explore.exploration import Row


@dataclass(frozen=True)
class Winner:
    """A candidate's network and what it reached.

    test: accuracies on the test split, the first of the candidate itself, the others of the same choices under other
    seeds; reproduced: whether its numbers on the validation samples came out as the table has them; fingerprint: of the
    test split.
    """

    made: Any
    row: Row
    reproduced: bool
    test: tuple[float, ...]
    samples: int
    fingerprint: str = ""

    @property
    def mean(self) -> float:
        """Of the test accuracies."""
        return statistics.mean(self.test)

    @property
    def deviation(self) -> float | None:
        """Of the test accuracies; None of a single one."""
        return statistics.stdev(self.test) if len(self.test) > 1 else None

    def results(self) -> dict[str, Any]:
        """What its files say of it."""
        return {
            "test_accuracy": self.test[0],
            "test_samples": self.samples,
            "test_accuracies_of_seeds": list(self.test),
            "validation_accuracy": self.row.accuracy,
            "memory": self.row.memory,
        }


def make_winner(subject: Subject, row: Row, test: Dataset, *, seeds: int = 1) -> Winner:
    """Make a candidate of the table again, and look at the test split, once for each seed.

    seeds: how many; those beyond the first draw other calibration samples, other noise, another order of training.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; give 1 or more")
    made = make_candidate(subject, row.number, row.choices)
    again = subject.numbers(made, subject.validation)
    same = all(again[name] == row.numbers[name] for name in ("accuracy", "memory"))
    found = [float(subject.numbers(made, test)["accuracy"])]
    for further in range(1, seeds):
        other = subject.again(further)
        found.append(float(other.numbers(make_candidate(other, row.number, row.choices), test)["accuracy"]))
    return Winner(made, row, same, tuple(found), len(test), test.fingerprint)


def certified(subject: Subject, winner: Winner, test: Dataset, samples: int = 256) -> Winner:
    """The winner with a certificate; see `Subject.certified`."""
    return replace(winner, made=subject.certified(winner.made, test, samples))
