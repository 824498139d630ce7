"""The machine and the versions that a comparison was made with."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np

from bitspike._version import __version__


def processor() -> str:
    """The processor's name, as Linux tells it, else what Python knows."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine()


def versions(compiler: str | None = None) -> dict[str, str]:
    """Those of bitspike, Python, numpy and torch, and of a C compiler."""
    import torch

    found = {
        "bitspike": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
    return found if compiler is None else {**found, "compiler": compiler_version(compiler)}


def compiler_version(compiler: str) -> str:
    """The first line of what a compiler says of itself."""
    try:
        done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return compiler
    return done.stdout.partition("\n")[0].strip() or compiler
