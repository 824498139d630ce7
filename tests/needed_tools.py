"""What happens where a command that a test needs is missing."""

from __future__ import annotations

import os
import shutil

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
