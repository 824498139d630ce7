"""What happens where a command or a module that a test needs is missing."""

from __future__ import annotations

import os
import shutil
from glob import glob
from importlib.util import find_spec

import pytest


def need_tool(name: str, folders: str = "") -> str:
    """The path of a command; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set.

    folders: a pattern of places where it may lie besides those of PATH; the last in the alphabet counts.
    """
    path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(sorted(glob(folders), reverse=True)))
    if path is None:
        _missing(f"the command {name} is not installed")
    return str(path)


def need_module(name: str) -> None:
    """Skips where a module is missing, fails where BITSPIKE_REQUIRE_TOOLS is set."""
    if find_spec(name) is None:
        _missing(f"the module {name} is not installed")


def _missing(message: str) -> None:
    if os.environ.get("BITSPIKE_REQUIRE_TOOLS"):
        pytest.fail(message)
    pytest.skip(message)
