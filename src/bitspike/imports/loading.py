"""Getting a torch module from the text that the command line gives: a function to call. This runs the user's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import nn


def module_from(text: str) -> nn.Module:
    """What the function of `path.py:function` or `package.module:function` returns."""
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ValueError(
            f"{text!r} names neither a NIR file nor a function; give FILE.nir, path.py:function or "
            "package.module:function"
        )
    path = Path(place).expanduser() if place.endswith(".py") else None
    # What lies beside the file can be imported by it, also while the function runs, as where it is run as a script.
    with _importing_from("" if path is None else str(path.resolve().parent)):
        home = _by_name(place) if path is None else _from_file(path)
        function = getattr(home, name, None)
        if not callable(function):
            raise ValueError(
                f"{place} has no function {name}; write one that takes nothing and returns the trained module"
            )
        made = function()
    if not isinstance(made, nn.Module):
        raise TypeError(f"{text} returned {type(made).__name__}; it must return the trained torch module")
    return made


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give path.py:function")
    spec = importlib.util.spec_from_file_location(f"_imported_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    home = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = home  # dataclasses look their module up there
    spec.loader.exec_module(home)
    return home


def _by_name(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise ValueError(
            f"there is no module {name} to import; give path.py:function, or start where the package lies"
        ) from None


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    """A folder where modules are found; the code that runs may change the path as well."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
