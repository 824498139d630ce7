"""Opening NIR files with the `nir` package, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def nir_package() -> Any:
    """The package, or a sentence that says how to get it."""
    try:
        import nir
    except ModuleNotFoundError as error:
        if error.name not in ("nir", "h5py"):
            raise
        raise ModuleNotFoundError("NIR files need nir: pip install 'bitspike[nir]'", name=error.name) from None
    return nir


def read_nir_file(file: str | Path) -> Any:
    """The graph in a file; ValueError where there is none."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a NIR file")
    nir = nir_package()
    try:
        return nir.read(path)
    except Exception as error:  # whatever its reader raises for bytes that are no graph
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a readable NIR file: {first}") from None
