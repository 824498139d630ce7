"""The options that several commands share, with one meaning and one help text each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    import torch

Flag = Parameter(show_default=False)
Json = Annotated[bool, Flag, Parameter(name="--json", help="print one JSON object instead of tables.")]
Quiet = Annotated[bool, Flag, Parameter(name=("--quiet", "-q"), help="no progress and no hints, only the result.")]
Device = Annotated[str, Parameter(help="auto (a GPU where there is one), cpu, cuda, cuda:0.")]
Root = Annotated[
    Path | None,
    Parameter(name="--data-root", help="folder that holds the data sets' folders (default: $BITSPIKE_DATA)."),
]
Download = Annotated[bool, Flag, Parameter(help="fetch the data set if it is not there; nothing is fetched otherwise.")]
Batch = Annotated[int, Parameter(help="samples computed at once; changes memory and speed, never the result.")]
Settings = Annotated[list[str] | None, Parameter(name="--set", help="change one setting, NAME=VALUE; can be repeated.")]


def at_least(name: str, value: int | None, smallest: int = 1) -> None:
    """Refuse a number below what makes sense, by the option's name."""
    if value is not None and value < smallest:
        raise ValueError(f"{name} is {value}; give {smallest} or more")


def refuse_given(options: Iterable[tuple[str, bool]], why: str) -> None:
    """Refuse options that this network has no use for, by their names: name, whether it was given."""
    if given := [name for name, is_given in options if is_given]:
        raise ValueError(f"{why}; leave out {', '.join(given)}")


def points(name: str, text: str) -> float:
    """A loss of accuracy, "1%" or "0.01", as a fraction."""
    try:
        found = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise ValueError(f"{name} is {text!r}; give points of accuracy from 0% to less than 100%, such as 1%, or 0.01")
    return found


def usable_device(text: str) -> torch.device:
    """The device of that name, refused here where the machine does not have it."""
    from bitspike.train import choose_device

    device = choose_device(text)
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f'device is "{text}"; give auto, cpu, cuda or cuda:0')
    return device
