"""A list of training runs, done one after another, each once: finished ones have a row, claimed ones a lock."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bitspike.atomic import atomic_write
from bitspike.train import Recipe, read_recipe

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class StudyRun:
    """One training run of a study.

    table, data, row: where its accuracy stands. changes: settings of the recipe, NAME=VALUE. images: how many of the
    training split, the first of a fixed shuffle; None for all. model: name of its integer file in models/, or empty.
    """

    table: str
    data: str
    row: str
    seed: int
    recipe: str
    changes: tuple[str, ...] = ()
    images: int | None = None
    model: str = ""

    @property
    def name(self) -> str:
        """What its folder is called."""
        words = [self.table, self.data, *self.row.split(), f"seed{self.seed}"]
        return "-".join(word for word in words if word != "main")

    def settings(self) -> dict[str, Any]:
        """All that its figures depend on, as plain data."""
        plain = asdict(self) | {"changes": list(self.changes)}
        plain.pop("model")
        text = json.dumps(read(self).training_dict(), sort_keys=True)
        return plain | {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


class Study:
    """Runs, and the file of rows of those that are done."""

    def __init__(self, name: str, runs: Sequence[StudyRun], results: Path | None = None, folder: Path | None = None):
        self.name, self.runs = name, tuple(runs)
        self.results = results or ROOT / "results" / f"{name}.json"
        self.folder = folder or ROOT / "runs" / name
        names = [run.name for run in self.runs]
        if len(set(names)) != len(names):
            raise ValueError(f"{name}: two runs have one name")

    def rows(self) -> list[dict[str, Any]]:
        """The rows that are there, in the order of the runs."""
        if not self.results.is_file():
            return []
        found = json.loads(self.results.read_text(encoding="utf-8"))["rows"]
        order = {run.name: number for number, run in enumerate(self.runs)}
        return sorted(found, key=lambda row: order.get(row["run"], len(order)))

    def missing(self) -> list[StudyRun]:
        """Runs without a row. A row made with other settings, or another text of the recipe, does not count."""
        done = {row["run"]: row["settings"] for row in self.rows()}
        return [run for run in self.runs if done.get(run.name) != run.settings()]

    def work(self, execute: Callable[[StudyRun, Path], dict[str, Any]], only: str, say: Callable[[str], None]) -> int:
        """Do what is missing and nobody else does; how many runs were finished."""
        finished = 0
        for run in self.runs:
            if only not in run.name:
                continue
            folder = self.folder / run.name
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(folder / ".lock") as mine:
                if not mine or run not in self.missing():
                    continue
                say(f"{run.name}: {run.recipe} {' '.join(run.changes)}")
                row = execute(run, folder)
                self._add({"run": run.name, "settings": run.settings(), **row})
                finished += 1
        return finished

    def _add(self, row: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with _lock(self.folder / ".rows", wait=True):
            rows = [other for other in self.rows() if other["run"] != row["run"]] + [row]
            order = {run.name: number for number, run in enumerate(self.runs)}
            rows.sort(key=lambda other: order.get(other["run"], len(order)))
            text = json.dumps({"study": self.name, "rows": rows}, indent=1) + "\n"
            atomic_write(self.results, text.encode())


def read(run: StudyRun) -> Recipe:
    """The recipe with the run's changes."""
    return read_recipe(run.recipe, [*run.changes, f"train.seed={run.seed}"])


@contextmanager
def _lock(file: Path, *, wait: bool = False) -> Iterator[bool]:
    """Whether this process holds the lock inside; the system takes it back from a process that dies."""
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
