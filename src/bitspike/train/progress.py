"""How a running training shows itself: a bar on a terminal, one line per epoch elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger("bitspike.train")


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """One finished epoch in one line."""
    parts = [
        f"epoch {record['epoch'] + 1}/{epochs}",
        f"loss {record['loss']:.4f}",
        f"train {100 * record['train_accuracy']:.2f} %",
    ]
    if record.get("validation_accuracy") is not None:
        parts.append(f"validation {100 * record['validation_accuracy']:.2f} %")
    parts.append(f"firing {firing_text(record['firing_rates'])}")
    parts.append(f"{record['samples_per_second']:.0f} samples/s")
    return "  ".join(parts)


def firing_text(rates: Mapping[str, float]) -> str:
    """Firing rates in percent, layer by layer in the order of execution."""
    return "/".join(f"{100 * rate:.0f}" for rate in rates.values()) + " %" if rates else "none"


class TrainingProgress:
    """Reports to a rich progress bar where the console is a terminal, else to the log `bitspike.train`.

    Bar and lines go to standard error, so that standard output stays free for `--json`.
    """

    def __init__(self, *, console: Console | None = None, show: bool = True) -> None:
        self.console = console or Console(stderr=True)
        self.bar = self._make_bar() if show and self.console.is_terminal else None
        self._task: Any = None
        self._epochs = 0
        self._batch = 0
        self._done_at_start = 0
        self._started = 0.0

    def _make_bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def begin(self, name: str, epochs: int, steps_per_epoch: int, batch: int, done: int) -> None:
        """A run of so many steps starts, or goes on after `done` of them."""
        self._epochs, self._batch, self._done_at_start = epochs, batch, done
        self._started = time.perf_counter()
        if done >= epochs * steps_per_epoch:
            log.info("%s was trained to its end before it was stopped; it is evaluated now", name)
        elif done:
            log.info("%s resumes at epoch %d of %d", name, done // steps_per_epoch + 1, epochs)
        if self.bar is not None:
            self._task = self.bar.add_task(name, total=epochs * steps_per_epoch, completed=done, numbers="")

    def step(self, done: int, epoch: int, loss: float, firing_rates: Mapping[str, float]) -> None:
        """Global step `done` is finished."""
        if self.bar is None:
            return
        rate = self._batch * (done - self._done_at_start) / max(1e-9, time.perf_counter() - self._started)
        numbers = f"epoch {epoch + 1}/{self._epochs}  {rate:.0f} samples/s  loss {loss:.3f}"
        if firing_rates:
            numbers += f"  firing {firing_text(firing_rates)}"
        self.bar.update(self._task, completed=done, numbers=numbers)

    def epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch is finished."""
        line = epoch_line(record, self._epochs)
        if self.bar is not None:
            self.bar.console.print(line, highlight=False)
        else:
            log.info("%s", line)
