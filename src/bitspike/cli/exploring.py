"""What `explore`, `significance` and `pick` share: names, progress, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitspike.cli.output import Output
from bitspike.wording import percent, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from bitspike.explore import Exploration, Row

FRONT = "front.png"


class Progress:
    """A line about an exploration whenever something has ended, at most every few seconds."""

    EVERY = 5.0

    def __init__(self, output: Output) -> None:
        self._output = output
        self._said = 0.0

    def changed(self, found: Exploration) -> None:
        """Say how far it is, and what is best within a point."""
        import time

        now = time.monotonic()
        if now - self._said < self.EVERY:
            return
        self._said = now
        ended = len(found.finished) + len(found.stopped) + len(found.failed)
        best = _within_a_point(found)
        told = f"{ended} of {len(found.rows)} so far, {len(found.front)} on the front"
        if best is not None:
            told += f"; within a point {size(best.memory)} ({percent(best.accuracy)}, number {best.number})"
        self._output.note(told)


def _within_a_point(found: Exploration) -> Row | None:
    try:
        return found.smallest(0.01)
    except ValueError:
        return None


def draw_front(found: Exploration, folder: Path, picked: Row | None = None) -> str | None:
    """The front as a PNG; None without matplotlib."""
    from bitspike.explore.plot import plot_front

    return picture(folder / FRONT, lambda: plot_front(found, picked))


def picture(file: Path, draw: Callable[[], bytes]) -> str | None:
    """Write a picture; None without matplotlib, which most can do without."""
    from bitspike.atomic import atomic_write

    try:
        drawn = draw()
    except ModuleNotFoundError:
        return None
    atomic_write(file, drawn)
    return str(file)


def without_picture(output: Output, picture: str | None) -> None:
    """Say how to get the picture that could not be drawn."""
    if picture is None:
        output.hint("no picture, for want of matplotlib: pip install 'bitspike[report]'")


def quantized_already(net: nn.Module, source: Path) -> str:
    """What to tell whoever gives a network that is quantized, and may have meant another file; or nothing."""
    from bitspike.block.spec_of import layer_states

    if all(state.is_float for state in layer_states(net).values()):
        return ""
    return f"note: {source} is quantized already; candidates are compared with it, not with a float network"


def model_name(source: Path) -> str:
    """What a model file is called, or the folder of the run that made it."""
    return source.parent.name if source.stem == "model" else source.stem


def data_name(source: Path, data: str | None) -> str:
    """The data set that is named, or the one that a model file was trained on."""
    from bitspike.cli.data import known_name
    from bitspike.stdp import load
    from bitspike.stdp.file import is_stdp_file
    from bitspike.train import read_header

    if data is not None:
        return known_name(data)
    if is_stdp_file(source):
        told = load(source).about.get("data", {}).get("name")
    else:
        told = (read_header(source).recipe or {}).get("data", {}).get("name")
    if told is None:
        raise ValueError("the file does not say what its network was trained on; name a data set with --data")
    return str(told)


def as_pair(text: str) -> list[int]:
    """BATCHESxSAMPLES as two numbers."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise ValueError(f"--calibration is {text!r}; give BATCHESxSAMPLES, such as 4x128")
    return [int(part) for part in parts]
