"""Who leads an exploration: one process at a time, and the next one soon after that was killed.

Two that propose candidates would write each of them down twice. A file lock says who leads where all are on one
machine, in a folder and on SQLite; on other databases the leader gives signs of life.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bitspike.explore import search
from bitspike.explore.storage import shown, storage_errors
from bitspike.explore.store import Store
from bitspike.locking import FileLock

SETTLE = 1.0
"""Seconds in which two processes that begin at once both see that they are two."""

log = logging.getLogger("bitspike.explore")


@contextmanager
def leading_folder(folder: Path) -> Iterator[None]:
    """The right to be the only one that explores in a folder."""
    with _held(
        FileLock(folder / "leader.lock"),
        f"another process explores in {folder}; wait for it, or choose another folder",
    ):
        yield


@contextmanager
def leading(store: Store, where: str, name: str) -> Iterator[None]:
    """The right to be the only one that proposes candidates of a study in a database."""
    refusal = (
        f"another process explores {name!r} in {shown(where)} already; join it (join=True, --join), wait for it, or "
        "choose another name"
    )
    lock = store.leader_lock()
    with _held(lock, refusal) if lock is not None else _alive(store, where, refusal):
        yield


@contextmanager
def _held(lock: FileLock, refusal: str) -> Iterator[None]:
    if not lock.acquire(wait=False):
        raise ValueError(refusal)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _alive(store: Store, where: str, refusal: str) -> Iterator[None]:
    """Signs of life while it leads. A leader that gave none for as long as a candidate may be silent is gone."""
    me = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    with storage_errors(where):
        if not _is_free(store):
            raise ValueError(refusal)
        store.set_leader(f"{me}:0")
        time.sleep(SETTLE)
        if not store.leader.startswith(me):
            raise ValueError(refusal)
    stop = threading.Event()
    beating = threading.Thread(target=_beat, args=(store, me, stop), daemon=True)
    beating.start()
    try:
        yield
    finally:
        stop.set()
        beating.join()
        try:
            store.set_leader("")
        except Exception as error:  # the next one waits for a sign of life that does not come
            log.warning("the end of the exploration could not be written down: %s", error)


def _is_free(store: Store) -> bool:
    """Whether nobody leads; a leader that may have been killed is watched for a while."""
    first = store.leader
    if not first:
        return True
    log.warning("another process began this exploration; waiting up to %g seconds for a sign of it", search.STALE)
    end = time.monotonic() + search.STALE
    while time.monotonic() < end:
        time.sleep(min(1.0, search.STALE / 10))
        if (now := store.leader) != first:
            return not now
    return True


def _beat(store: Store, me: str, stop: threading.Event) -> None:
    count = 0
    while not stop.wait(search.BEAT):
        count += 1
        try:
            store.set_leader(f"{me}:{count}")
        except Exception as error:  # the next one may get through again
            log.warning("no sign of life could be given: %s", error)
