"""Where a measurement was made."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _shared.environment import ROOT

_FLAGS = ("sse4_2", "popcnt", "avx2", "avx512f", "avx512bw", "avx512_vpopcntdq", "avx512_vnni", "asimd", "asimddp")


def machine() -> dict[str, Any]:
    """Processor, its instruction sets, system, load and commit."""
    model, flags = _processor()
    return {
        "processor": model,
        "flags": flags,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def _processor() -> tuple[str, list[str]]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), []
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip().lower(), value.strip())
    flags = set((found.get("flags") or found.get("features") or "").split())
    return found.get("model name", platform.machine()), [flag for flag in _FLAGS if flag in flags]


def _commit() -> str | None:
    """The checkout's commit, with + where files of it are changed."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout.strip()
