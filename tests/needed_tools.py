"""What happens where a command or a library that a test needs is missing."""

from __future__ import annotations

import importlib
import os
import shutil
from glob import glob
from typing import Any, NoReturn

import pytest


def need_tool(name: str, folders: str = "") -> str:
    """The path of a command; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set.

    folders: a pattern of places where it may lie besides those of PATH; the last in the alphabet counts.
    """
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(sorted(glob(folders), reverse=True)))
    return path or _missing(f"the command {name} is not installed")


def need_module(name: str) -> Any:
    """A library; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        _missing(f"{name} cannot be imported: {error}")


def _missing(message: str) -> NoReturn:
    if os.environ.get("BITSPIKE_REQUIRE_TOOLS"):
        pytest.fail(message)
    pytest.skip(message)
