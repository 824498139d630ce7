"""Locks that the system takes back from a process that ends, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitspike.atomic import refuse_unwritable


class FolderInUse(ValueError):
    """Another run works in the folder."""


class FileLock:
    """A lock on a file, made where it is missing, or on a folder that is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    def acquire(self, *, wait: bool = True) -> bool:
        """Wait until nobody else has it; or give up at once, which is False."""
        import fcntl  # systems without it can do all the rest

        flags = os.O_RDONLY if self._path.is_dir() else os.O_RDWR | os.O_CREAT
        held = os.open(self._path, flags, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return False
        except BaseException:
            os.close(held)
            raise
        self._held = held
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


@contextmanager
def own_folder(folder: Path | None) -> Iterator[None]:
    """A folder, made if missing, that can be written and where no other run is; two would write over each other.

    Some network file systems lock no folders, and some systems nothing: there nothing is held. Neither is it for None.
    """
    if folder is None:
        yield
        return
    refuse_unwritable(folder)
    lock = FileLock(folder)
    try:
        free = lock.acquire(wait=False)
    except (OSError, ImportError):
        free = True
    if not free:
        raise FolderInUse(f"another process trains in {folder}; wait for it, or choose another folder (--out)")
    try:
        yield
    finally:
        lock.release()
