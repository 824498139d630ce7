"""C compilers: finding one, running it, and saying clearly what went wrong."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

SOURCES = Path(__file__).parent / "c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
"""What all C code of the package builds with."""

_COMPILERS = ("cc", "gcc", "clang")


def find_compiler(given: str | None = None) -> str:
    """The path of a C compiler: the given one, or the first of cc, gcc, clang."""
    for name in (given,) if given else _COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return path
    wanted = f"the C compiler {given} is not" if given else f"none of the C compilers {', '.join(_COMPILERS)} is"
    raise FileNotFoundError(f"{wanted} installed; install gcc or clang, or name another compiler")


def compile_c(compiler: str, arguments: Sequence[str | Path]) -> None:
    """Run a compiler; RuntimeError with its first lines where it fails."""
    done = subprocess.run([compiler, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[:12])
        raise RuntimeError(f"{compiler} failed with exit code {done.returncode}: {said}")
