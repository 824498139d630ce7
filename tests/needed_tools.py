"""What happens where a command or a library that a test needs is missing."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Any

import pytest


def need_tool(name: str) -> str:
    """The path of a command; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set."""
    path = shutil.which(name)
    if path is None:
        message = f"the command {name} is not installed"
        if os.environ.get("BITSPIKE_REQUIRE_TOOLS"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def need_module(name: str) -> Any:
    """A library; skips where it is missing, fails where BITSPIKE_REQUIRE_TOOLS is set."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"{name} cannot be imported: {error}"
        if os.environ.get("BITSPIKE_REQUIRE_TOOLS"):
            pytest.fail(message)
        pytest.skip(message)
