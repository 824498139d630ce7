"""Files that are there completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path


def temporary_name(path: Path) -> Path:
    """Where `atomic_write` prepares a file; always the same, so a killed run leaves at most one behind."""
    real = _real(path)
    return real.with_name(f".{real.name}.part")


def _real(path: Path) -> Path:
    """The file itself, where the path is a link to it."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write, flush to the disk, then rename: readers see the old file or the new one, never half of one.

    A link stays a link, and a file that is replaced keeps its permissions. Where the disk is full or forbids it, the
    half-written file is removed, the old one stays, and one sentence says so.
    """
    target = Path(path)
    real, temporary = _real(target), temporary_name(target)
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)  # one that a killed run left may be read-only
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if real.exists():
            temporary.chmod(stat.S_IMODE(real.stat().st_mode))
        os.replace(temporary, real)
        _sync_folder(real.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        kept = "; the previous file is unharmed" if target.is_file() else ""
        reason = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
        advice = "free some space or choose another folder" if full else "choose another folder"
        failure = OSError(f"could not write {target} ({len(data)} bytes): {reason}{kept}; {advice}")
        failure.errno = error.errno
        raise failure from error


def refuse_unwritable(folder: Path) -> None:
    """Make the folder and try a file in it, so that a run does not learn at its end that it cannot be saved."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; choose another folder")
    trial = folder / ".writable"
    atomic_write(trial, b"")
    trial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
