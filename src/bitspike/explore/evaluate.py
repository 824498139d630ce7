"""One candidate, from choices to numbers: everything random in it follows from the seed and its number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from bitspike.drawing import stream
from bitspike.explore.space import Choices, Space

if TYPE_CHECKING:
    from bitspike.data import Dataset

_SEEDS = 2**32


MARGIN = 0.02
"""How far a candidate that trains may lie below a rival of no more memory, and go on: 2 points."""


@dataclass(frozen=True)
class Rival:
    """A candidate that was trained before: its memory, and its accuracy after every epoch."""

    memory: int
    history: tuple[float, ...]


class Hopeless(Exception):
    """Training was stopped early: a rival of no more memory was far better after the same epoch."""

    def __init__(self, history: list[float], memory: int) -> None:
        super().__init__(f"stopped after {len(history)} epochs")
        self.history, self.memory = history, memory


class Subject(Protocol):
    """What is explored: a trained float network, its data, and how candidates are made of it.

    `explore.setting` has the one of networks of blocks, `explore.stdp_setting` the one of unsupervised networks. All
    else in this package knows only this. Candidates are what `make` returns: they have `settings` (how they are
    quantized, and their seed) and `details`, plain data for their rows, and
    a `certificate` once they are certified.
    """

    @property
    def space(self) -> Space:
        """What is tried."""

    @property
    def validation(self) -> Dataset:
        """What candidates are compared on."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """What makes a front."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    def meaning(self, choices: Choices) -> str:
        """What choices come to, as text, equal for equal candidates; ValueError where they contradict themselves."""

    def baseline(self) -> dict[str, Any]:
        """Accuracy and memory of the float network."""

    def identity(self) -> dict[str, Any]:
        """What makes it this one and no other, as plain data."""

    def make(self, number: int, choices: Choices, rivals: Sequence[Rival] | None = None) -> Any:
        """A candidate; raises `Hopeless` where it trains and falls too far behind a rival."""

    def numbers(self, made: Any, data: Dataset, objectives: Sequence[str] = ()) -> dict[str, Any]:
        """Accuracy and memory of a candidate always, the other objectives where they are asked for."""

    def again(self, further: int) -> Subject:
        """The same with another seed, the `further`-th after its own."""

    def certified(self, made: Any, data: Dataset, samples: int) -> Any:
        """The candidate with a certificate: what computes it is equal to its definition on so many samples.

        Without one where nothing else than the definition computes it.
        """


def evaluate_candidate(
    subject: Subject, number: int, choices: Choices, rivals: Sequence[Rival] | None = None
) -> dict[str, Any]:
    """The row of a candidate; raises `Hopeless` where it trains and falls too far behind a rival."""
    made = make_candidate(subject, number, choices, rivals)
    return {
        "choices": dict(choices),
        **made.settings,
        **subject.numbers(made, subject.validation, subject.objectives),
        **made.details,
    }


def kept_in(folder: Path | None, number: int, *made_of: Any) -> Path | None:
    """Where the training of a candidate is kept: a folder for whatever it is made of, given as plain data.

    Explorations of other networks may share the exploration's folder, and their candidates have the same numbers.
    """
    if folder is None:
        return None
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    return folder / "candidates" / f"{number:05d}-{digest[:12]}"


def make_candidate(subject: Subject, number: int, choices: Choices, rivals: Sequence[Rival] | None = None) -> Any:
    """`Subject.make` on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums would come out differently with more, and so would the table
    try:
        return subject.make(number, choices, rivals)
    finally:
        torch.set_num_threads(before)


def seed_of(seed: int, number: int, purpose: str) -> int:
    """A 32-bit seed for one purpose of one candidate."""
    return stream(seed, "candidate", str(number), purpose) % _SEEDS
