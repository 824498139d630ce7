"""Opening NIR files, which are HDF5, with the `nir` package, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DEFAULT_DT = 1e-4
"""Seconds of a time step where nobody says: what snnTorch and SpikingJelly write files for."""
ENDINGS = (".nir", ".h5", ".hdf5")
_START = b"\x89HDF\r\n\x1a\n"
_DEEPEST = 16
_MOST_BYTES = 1 << 32


def nir_package() -> Any:
    """The package, or a sentence that says how to get it."""
    try:
        import nir
    except ModuleNotFoundError as error:
        if error.name not in ("nir", "h5py"):
            raise
        raise ModuleNotFoundError("NIR files need nir: pip install 'bitspike[nir]'", name=error.name) from None
    return nir


def is_nir_file(file: str | Path) -> bool:
    """Whether a path is meant as a NIR file: by its ending, or because it begins like HDF5."""
    path = Path(file)
    if path.suffix == ".nir" or not path.is_file():
        return path.suffix == ".nir"
    with path.open("rb") as opened:
        return opened.read(len(_START)) == _START


def read_nir_file(file: str | Path) -> Any:
    """The graph in a file; ValueError where there is none."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a NIR file")
    nir = nir_package()
    try:
        _refuse_bombs(path)
        return nir.read(path)
    except Exception as error:  # whatever its reader raises for bytes that are no graph
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a readable NIR file: {first}") from None


def _refuse_bombs(path: Path) -> None:
    """A small file can name the same group a million times, arrays that are not in it, and other files."""
    import h5py

    with h5py.File(path, "r") as file:
        left, seen, size = [(file, 0)], set(), 0
        while left:
            group, depth = left.pop()
            if depth > _DEEPEST:
                raise ValueError(f"its groups are nested deeper than {_DEEPEST} levels")
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError("it links to places elsewhere")
                item = group[name]
                where = h5py.h5o.get_info(item.id).addr
                if where in seen:
                    raise ValueError("it names one place twice")
                seen.add(where)
                if isinstance(item, h5py.Group):
                    left.append((item, depth + 1))
                else:
                    size += item.size * item.dtype.itemsize
                if size > _MOST_BYTES:
                    raise ValueError(f"its arrays are larger than {_MOST_BYTES >> 30} GiB")
