"""The candidate that was chosen, made again: tested once, certified, saved."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitspike.data import Dataset
from bitspike.explore.evaluate import Made, Setting, make_candidate
from bitspike.explore.exploration import Row
from bitspike.explore.numbers import numbers_of
from bitspike.runtime import certify
from bitspike.runtime.evaluation import evaluate_integers


@dataclass(frozen=True)
class Winner:
    """A candidate's network and what it reached.

    test: accuracies on the test split, the first of the candidate itself, the others of the same choices under other
    seeds; reproduced: whether its numbers on the validation samples came out as the table has them.
    """

    made: Made
    row: Row
    reproduced: bool
    test: tuple[float, ...]
    samples: int

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


def make_winner(setting: Setting, row: Row, test: Dataset, *, seeds: int = 1) -> Winner:
    """Make a candidate of the table again, and look at the test split, once for each seed.

    seeds: how many; those beyond the first draw other calibration samples, other noise, another order of training.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}; give 1 or more")
    made = make_candidate(setting, row.number, row.choices)
    again = numbers_of(made.integers, setting.validation, ())
    same = all(again[name] == row.numbers[name] for name in ("accuracy", "memory"))
    found = [evaluate_integers(made.integers, test, batch=256).accuracy]
    for further in range(1, seeds):
        other = replace(setting, seed=setting.seed + further, folder=_folder(setting.folder, further))
        found.append(
            evaluate_integers(make_candidate(other, row.number, row.choices).integers, test, batch=256).accuracy
        )
    return Winner(made, row, same, tuple(found), len(test))


def certified(winner: Winner, test: Dataset, samples: int = 256) -> Winner:
    """The winner with a certificate: reference, engine and, where there is a compiler, exported C are equal."""
    net = winner.made.integers
    found = certify(net, test, count=min(samples, len(test)))
    about = replace(net.about, certificate=found.to_dict())
    return replace(winner, made=replace(winner.made, integers=replace(net, about=about)))


def _folder(folder: Path | None, further: int) -> Path | None:
    return None if folder is None else folder / f"seed-{further}"
