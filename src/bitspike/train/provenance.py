"""Where a result comes from: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from bitspike._version import __version__


def versions() -> dict[str, str]:
    """The versions that numbers depend on."""
    return {
        "bitspike": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, "-dirty" if changed; None outside a checkout."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
