"""`.venv-peers`: the environment in which peers run, made on first use with pinned versions."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = ROOT / ".venv-peers"
BUILD = ROOT / "build" / "benchmarks"


class PeerMissingError(RuntimeError):
    """A peer that cannot be had here; the text says why."""


def peers_python() -> Path:
    """The interpreter of `.venv-peers`."""
    return PEERS / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure(group: str, packages: Sequence[str], say: Callable[[str], None], alone: Sequence[str] = ()) -> Path:
    """Install pinned packages into `.venv-peers` unless they are there; its interpreter.

    group: a name of these packages, of which a marker file remembers what was installed.
    alone: packages installed without what they ask for; name what they really need among the others.
    """
    wanted = [*packages, *(f"{package} --no-deps" for package in alone)]
    pins = "\n".join(wanted) + "\n" + (ROOT / "constraints.txt").read_text(encoding="utf-8")
    marker = PEERS / f".{group}-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    if marker.is_file():
        return peers_python()
    say(f"installing {', '.join([*packages, *alone])} into {PEERS.name} (about a minute)")
    if not peers_python().is_file():
        _run([sys.executable, "-m", "venv", str(PEERS)], group)
    pip = [str(peers_python()), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--constraint", str(ROOT / "constraints.txt"), *packages], group)
    if alone:
        _run([*pip, "--no-deps", *alone], group)
    marker.touch()
    return peers_python()


def _run(command: list[str], group: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissingError(f"{group}: {error}") from None
    if done.returncode != 0:
        told = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise PeerMissingError(f"{group}: {told[-1]}")


def worker_environment(**extra: str) -> dict[str, str]:
    """Environment variables of a worker: one thread, and the benchmarks' modules within reach."""
    own = ("OMP_", "MKL_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(own) and key != "BITSPIKE_ENGINE"}
    return kept | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(BENCHMARKS)} | extra


def run_module(python: Path, module: str, arguments: Sequence[str], *, group: str) -> None:
    """Run one of the benchmarks' modules to its end in a worker's environment."""
    command = [str(python), "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=worker_environment(), check=False)
    if done.returncode != 0:
        told = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise PeerMissingError(f"{group}: {module} ended with: {told[-1]}")
