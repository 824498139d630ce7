"""Where data sets are looked for, and the sentence shown when they are not there.

An explicit `root` is the only place looked in. Without one it is `$BITSPIKE_DATA`; without that, the folder
`../shared/data` beside a checkout of the repository (where there is one) and then the platform's cache
folder.
Each data set has its own folder below a root: `mnist/`, `cifar10/`, and so on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

DATA_VARIABLE = "BITSPIKE_DATA"


def cache_folder() -> Path:
    """Return bitspike's folder below the platform's cache folder; it need not exist."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "bitspike"


def _development_root() -> Path | None:
    """Return `../shared/data` of a source checkout, or None for an installed package."""
    repository = Path(__file__).resolve().parents[3]
    shared = repository.parent / "shared" / "data"
    return shared if (repository / "pyproject.toml").is_file() and shared.is_dir() else None


def data_roots(root: str | os.PathLike[str] | None = None) -> tuple[Path, ...]:
    """Return the folders that are searched for data sets, first choice first."""
    if root is not None:
        return (Path(root).expanduser(),)
    if variable := os.environ.get(DATA_VARIABLE):
        return (Path(variable).expanduser(),)
    development = _development_root()
    return (*([development] if development else []), cache_folder() / "data")


def download_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that downloads go to: `root`, `$BITSPIKE_DATA`, or the cache (never the checkout's)."""
    return data_roots(root)[-1]


def missing_message(name: str, looked: Sequence[Path], how: str) -> str:
    """Return the sentence for a data set that was not found: where it was looked for and how to get it."""
    places = ", ".join(str(path) for path in looked)
    return (
        f"data set {name!r} was not found: looked in {places}; {how}, or set {DATA_VARIABLE} to the folder "
        f"that holds {name}/"
    )
