"""`Exploration`: what was tried, how it came out, and which candidate to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from bitspike.explore.pareto import costs, front
from bitspike.explore.selection import DEFAULT_MU, Baseline, by_reward, smallest_within
from bitspike.explore.store import COMPLETE, FAILED, PRUNED, Trial
from bitspike.spec import QuantSpec
from bitspike.wording import columns, percent, size


@dataclass(frozen=True)
class Row:
    """One candidate: its number, what was chosen, and what it came to.

    state: complete, pruned (training was stopped as hopeless), failed (numbers say why, under "error"), waiting or
    running.
    """

    number: int
    state: str
    choices: dict[str, Any]
    numbers: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """On the validation samples."""
        return float(self.numbers["accuracy"])

    @property
    def memory(self) -> int:
        """Bytes: weights, integers of channels or neurons, the state of all layers, batch 1."""
        return int(self.numbers["memory"])

    def to_dict(self) -> dict[str, Any]:
        """Plain data; only "seconds" and "latency" in it depend on when and where it was measured."""
        return {"number": self.number, "state": self.state, **self.numbers, "choices": self.choices}


@dataclass(frozen=True)
class Exploration:
    """A table of candidates beside the float network they were made from."""

    objectives: tuple[str, ...]
    baseline: Baseline
    rows: tuple[Row, ...]
    identity: dict[str, Any]

    COLUMNS: ClassVar = ("number", "candidate", "accuracy", "points", "memory", "smaller")
    LEFT: ClassVar = (0, 1)

    def __str__(self) -> str:
        ended = f"{len(self.rows)} candidates: {len(self.finished)} complete, {len(self.stopped)} stopped"
        told = f"{ended}, {len(self.failed)} failed; no other one beats these"
        return f"{told}\n{columns(self.COLUMNS, self.lines(), left=self.LEFT)}"

    def lines(self) -> list[tuple[str, ...]]:
        """What the candidates are compared with, and the front, under `COLUMNS`."""
        baseline = self.baseline
        return [
            ("", self.start, percent(baseline.accuracy), "", size(baseline.memory), "1.0x"),
            *(
                (
                    str(row.number),
                    ", ".join(f"{name}={value}" for name, value in row.choices.items()),
                    percent(row.accuracy),
                    f"{100 * (row.accuracy - baseline.accuracy):+.2f}",
                    size(row.memory),
                    f"{baseline.memory / row.memory:.1f}x",
                )
                for row in self.front
            ),
        ]

    @staticmethod
    def of(trials: Sequence[Trial], baseline: Baseline, identity: dict[str, Any]) -> Exploration:
        """From what is stored."""
        rows = tuple(Row(trial.number, trial.state, trial.choices, dict(trial.row or {})) for trial in trials)
        return Exploration(tuple(identity["objectives"]), baseline, rows, identity)

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Exploration:
        """Read `to_dict`'s form."""
        rows = []
        for told in plain["rows"]:
            numbers = {key: value for key, value in told.items() if key not in ("number", "state", "choices")}
            rows.append(Row(int(told["number"]), str(told["state"]), dict(told["choices"]), numbers))
        told = plain["baseline"]
        seen = max((int(row.numbers.get("samples", 0)) for row in rows), default=0)
        baseline = Baseline(float(told["accuracy"]), int(told["memory"]), int(told.get("samples", seen)))
        return Exploration(tuple(plain["objectives"]), baseline, tuple(rows), dict(plain["identity"]))

    @property
    def finished(self) -> tuple[Row, ...]:
        """The candidates with numbers."""
        return tuple(row for row in self.rows if row.state == COMPLETE)

    @property
    def stopped(self) -> tuple[Row, ...]:
        """Those whose training was stopped as hopeless."""
        return tuple(row for row in self.rows if row.state == PRUNED)

    @property
    def failed(self) -> tuple[Row, ...]:
        """Those that could not be made; `numbers["error"]` says why."""
        return tuple(row for row in self.rows if row.state == FAILED)

    @property
    def start(self) -> str:
        """What the candidates are compared with, in words: the float network, or one that was quantized already."""
        quant = QuantSpec.from_dict(self.identity["quant"]) if "quant" in self.identity else QuantSpec()
        plain = quant.weight.is_float and quant.ends.is_float and quant.membrane.is_float
        changed = any("bits" in dict(part) for item in quant.overrides for part in (item.weight, item.membrane))
        return "float network" if plain and not changed else "network as given"

    @property
    def front(self) -> tuple[Row, ...]:
        """The candidates that no other one beats in all objectives, the smallest memory first."""
        rows = self.finished
        points = [costs([row.numbers[name] for name in self.objectives], self.objectives) for row in rows]
        return tuple(sorted((rows[at] for at in front(points)), key=lambda row: (row.memory, -row.accuracy)))

    def best(self, form: str = "additive", mu: float = DEFAULT_MU) -> Row:
        """The candidate with the largest reward, "additive" or "product"; see `explore.selection`."""
        found: Row = by_reward(self.finished, self.baseline, form, mu)
        return found

    def smallest(self, within: float = 0.01, margin: float | None = None) -> Row:
        """The candidate of least memory that loses at most so much accuracy (0.01: one point), with a margin.

        margin: how far above that bound it has to be; by default one standard error on the validation samples.
        """
        found: Row = smallest_within(self.finished, self.baseline, within, margin)
        return found

    def row(self, number: int) -> Row:
        """The candidate of a number, finished with numbers."""
        found = next((row for row in self.rows if row.number == number), None)
        if found is None:
            raise ValueError(f"there is no candidate {number}; there are 0 to {len(self.rows) - 1}")
        if found.state != COMPLETE:
            told = found.numbers.get("error", f"it is {found.state}")
            raise ValueError(f"candidate {number} has no numbers: {told}")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "identity": self.identity,
            "baseline": asdict(self.baseline),
            "objectives": list(self.objectives),
            "front": [row.number for row in self.front],
            "rows": [row.to_dict() for row in self.rows],
        }
