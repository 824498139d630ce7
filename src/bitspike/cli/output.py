"""Rendering: tables for people, or exactly one JSON object for machines."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_PIPE_WIDTH = 120


@dataclass(frozen=True)
class Output:
    """Where a command's results go: results to standard output, all the rest to standard error."""

    as_json: bool = False
    quiet: bool = False

    def show(self, *parts: Any) -> None:
        """Print texts and tables, unless JSON is asked for."""
        if not self.as_json:
            console = _console()
            for part in parts:
                console.print(part, highlight=False, markup=False, soft_wrap=isinstance(part, str))

    def hint(self, text: str) -> None:
        """Print what only a person at the keyboard wants to know."""
        if not self.quiet:
            self.show(text)

    def note(self, text: str) -> None:
        """Say something about the work under way, on standard error."""
        if not self.quiet:
            print(text, file=sys.stderr)

    def finish(self, payload: Mapping[str, Any]) -> None:
        """Print the JSON object, if JSON is asked for."""
        if self.as_json:
            # No NaN: it is no JSON. What cannot be computed is null.
            print(json.dumps(_without_nan(payload), allow_nan=False))

    @contextlib.contextmanager
    def progress(self, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar on standard error while it is a terminal; gives a function that moves it on by so many."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        if not self.has_bar:
            yield lambda _: None
            return
        text_columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        time_columns = (TextColumn("left"), TimeRemainingColumn())
        with Progress(*text_columns, *time_columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(text, total=total)
            yield lambda count: bar.advance(task, count)

    @property
    def has_bar(self) -> bool:
        """Whether `progress` draws a bar."""
        return not self.quiet and sys.stderr.isatty()


def _console() -> Console:
    from rich.console import Console

    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return Console()
    return Console(width=_PIPE_WIDTH)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> Table:
    """A table whose columns hold numbers, right-aligned, except those listed in `left`."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_header=any(columns),
        pad_edge=False,
    )
    for index, name in enumerate(columns):
        made.add_column(name, justify="left" if index in left else "right", overflow="fold", no_wrap=index == 0)
    for row in rows:
        made.add_row(*row)
    return made
