"""How this program was called, so that a command shown to the user is one that works when typed."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program() -> str:
    """`bitspike` where the shell finds this very program under that name, else what stands for it here."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{_short(Path(sys.executable))} -m bitspike"
    found = shutil.which("bitspike")
    if called.name != "bitspike" or (found and Path(found).absolute() == called.absolute()):
        return "bitspike"
    return _short(called)


def command(*words: str | Path) -> str:
    """A command line of this program, quoted for a shell."""
    return " ".join((program(), *(shlex.quote(str(word)) for word in words)))


def _short(path: Path) -> str:
    """Relative to the present folder where it lies below it; links are left as they are."""
    whole = path.absolute()
    here = Path.cwd()
    return shlex.quote(str(whole.relative_to(here) if whole.is_relative_to(here) else whole))
