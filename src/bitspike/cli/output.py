"""Rendering: tables for people, or exactly one JSON object for machines; numbers in words that fit a column."""

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


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a percentage."""
    return "" if fraction is None else f"{100 * fraction:.{digits}f} %"


def size(count: int) -> str:
    """Bytes in the unit that keeps three figures; 1 kB is 1,000 bytes, as in the papers."""
    return f"{count} B" if count < 1000 else _scaled(count, ("kB", "MB", "GB", "TB"))


def amount(count: float | None) -> str:
    """A count, with k, M or G from 10,000 on."""
    if count is None:
        return ""
    return f"{count:,.0f}" if count < 10_000 else _scaled(count, ("k", "M", "G", "T"))


def _scaled(value: float, units: Sequence[str]) -> str:
    power = 0
    value /= 1000
    # 999.5 would print as 1000 of the smaller unit.
    while value >= 999.5 and power < len(units) - 1:
        value /= 1000
        power += 1
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {units[power]}"


def seconds(value: float) -> str:
    """A duration as a person says it."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 100:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def joules(value: float) -> str:
    """An energy, in the unit that keeps three figures."""
    for factor, unit in ((1, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ")):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def ratio(large: float, small: float) -> str:
    """How many times larger one is."""
    return f"{large / small:.1f}x" if small else ""


def shape(sizes: Sequence[int]) -> str:
    """A shape, 3x32x32."""
    return "x".join(str(part) for part in sizes)
