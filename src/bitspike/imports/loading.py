"""Getting a torch module from the text that the command line gives: a function to call. This runs the user's code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
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
    home = _from_file(Path(place).expanduser()) if place.endswith(".py") else _by_name(place)
    function = getattr(home, name, None)
    if not callable(function):
        raise ValueError(f"{place} has no function {name}; write one that takes nothing and returns the trained module")
    made = function()
    if not isinstance(made, nn.Module):
        raise TypeError(f"{text} returned {type(made).__name__}; it must return the trained torch module")
    return made


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give path.py:function")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file")
    home = importlib.util.module_from_spec(spec)
    # What lies beside the file can be imported by it, as where it is run as a script.
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(home)
    finally:
        sys.path.pop(0)
    return home


def _by_name(name: str) -> Any:
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise ValueError(
            f"there is no module {name} to import; give path.py:function, or start where the package lies"
        ) from None
    finally:
        sys.path.pop(0)
