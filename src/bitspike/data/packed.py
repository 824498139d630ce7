"""Files that are plain, `.gz` or `.xz`, and members of archives, all read without unpacking to disk."""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

PACKINGS = ("", ".gz", ".xz")
# Larger than any single file read here (CIFAR-100's train batch has 155 MB), small enough to stop a bomb.
SIZE_LIMIT = 1 << 30
_DAMAGED = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    NotImplementedError,  # a zip packed by a method that Python does not know
)


def find_packed(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`, plain or packed, or None; the plain one goes first."""
    for packing in PACKINGS:
        path = folder / (name + packing)
        if path.is_file():
            return path
    return None


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path}: the file is cut short or damaged ({error}); copy or fetch it again")


def _read_limited(stream: IO[bytes], where: str, limit: int) -> bytes:
    data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{where}: unpacks to more than {limit} bytes, which no supported data file does")
    return data


def read_packed(path: Path, limit: int = SIZE_LIMIT) -> bytes:
    """Return the unpacked content of a plain, `.gz` or `.xz` file; a cut or damaged one is a `ValueError`."""
    openers: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".xz": lzma.open}
    try:
        with openers.get(path.suffix, open)(path, "rb") as stream:
            return _read_limited(stream, str(path), limit)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def _tar_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            if member.isfile() and wanted(member.name):
                stream = archive.extractfile(member)
                if stream is None or member.size > limit:
                    raise ValueError(f"{path}: member {member.name} has {member.size} bytes, allowed are {limit}")
                yield member.name, stream.read()


def _zip_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir() and wanted(info.filename):
                with archive.open(info) as stream:
                    yield info.filename, _read_limited(stream, f"{path}: member {info.filename}", limit)


def _folder_members(path: Path, wanted: Callable[[str], bool], limit: int) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path.parent).as_posix()
        if file.is_file() and wanted(name):
            with file.open("rb") as stream:
                yield name, _read_limited(stream, str(file), limit)


def iterate_members(path: Path, wanted: Callable[[str], bool], limit: int = SIZE_LIMIT) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted members of a folder, a `.zip` or a tar, in one pass.

    Nothing is written to disk, so names inside an archive cannot lead outside of it. The names of a folder's
    members begin with the folder's own name, as they would in an archive made of it.
    """
    reader = _folder_members if path.is_dir() else _zip_members if path.suffix == ".zip" else _tar_members
    try:
        yield from reader(path, wanted, limit)
    except _DAMAGED as error:
        raise _damaged(path, error) from error


def read_tar_files(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return the named files of a tar, found by base name; missing ones are a `ValueError`."""
    found: dict[str, bytes] = {}
    for name, data in iterate_members(path, lambda member: PurePosixPath(member).name in names):
        found.setdefault(PurePosixPath(name).name, data)
        if len(found) == len(set(names)):
            break
    if missing := sorted(set(names) - set(found)):
        raise ValueError(f"{path}: the archive holds no {', '.join(missing)}; is it the original archive?")
    return found
