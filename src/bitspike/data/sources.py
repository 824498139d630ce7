"""What a data set consists of on disk: its files with their published checksums, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitspike.data.checksum import Checksum, digest, verify
from bitspike.data.packed import find_packed, read_packed


@dataclass(frozen=True)
class SourceFile:
    """A file of a data set by its unpacked name, and the checksum of its unpacked content."""

    name: str
    checksum: Checksum


@dataclass(frozen=True)
class Download:
    """A file to fetch: its place, its base addresses, and its checksum as it comes."""

    path: str  # below the data root
    mirrors: tuple[str, ...]  # base addresses; the file name is appended
    checksum: Checksum

    @property
    def name(self) -> str:
        """Return the file's name, the last part of its path and of its address."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class FileState:
    """One file of a data set as found: where (None: missing), its size, and what is known of its checksum.

    checksum: "ok", "wrong", "unreadable", "unchecked" (not asked for), "damaged" (not asked for, but the
              file is empty), "missing", or "none" (none is published).
    reason:   why the file is unreadable or damaged.
    """

    file: str
    path: str | None
    bytes: int | None
    checksum: str
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `reason` is there only where there is one."""
        found = {"file": self.file, "path": self.path, "bytes": self.bytes, "checksum": self.checksum}
        return found if self.reason is None else {**found, "reason": self.reason}


def unchecked_state(size: int) -> tuple[str, str | None]:
    """Return state and reason of a file that is there and was not read: an empty one is damaged."""
    return ("unchecked", None) if size else ("damaged", "the file is empty")


def read_source(folder: Path, source: SourceFile, *, check: bool) -> tuple[bytes, Path]:
    """Return the unpacked content of a file in `folder` and its path; missing or wrong files are errors."""
    path = find_packed(folder, source.name)
    if path is None:
        raise FileNotFoundError(
            f"{folder}: file {source.name} is missing (plain, .gz or .xz); fetch the data set again"
        )
    data = read_packed(path)
    if check:
        verify(data, source.checksum, str(path))
    return data, path


def inspect_source(folder: Path, source: SourceFile, *, check: bool) -> FileState:
    """Return the state of one file; with `check`, its content is read and held against its checksum."""
    path = find_packed(folder, source.name)
    if path is None:
        return FileState(source.name, None, None, "missing")
    size = path.stat().st_size
    state, reason = unchecked_state(size)
    if check:
        try:
            good = digest(read_packed(path), source.checksum.algorithm) == source.checksum.hexdigest
            state = "ok" if good else "wrong"
        except (ValueError, OSError) as error:
            state, reason = "unreadable", str(error)
    return FileState(source.name, str(path), size, state, reason)
