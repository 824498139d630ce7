"""Processes that explore and are killed, by themselves at a chosen moment or from outside."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from bitspike.atomic import atomic_write, temporary_name
from bitspike.explore import evaluate, executor, explore, store
from studies import small

KILLS = ("behind a line", "half a line", "enqueued", "table half written", "in a candidate", "between row and state")


def exploring(folder: Path, kill: tuple[str, int] | None, changes: dict[str, Any]) -> None:
    """Explore into a folder; notes every candidate that is begun; kill: what is going on then, and how often before."""
    torch.set_num_threads(1)
    _note_candidates(folder.with_suffix(".begun"))
    if kill is not None:
        _arrange(*kill)
    explore(**small(**changes), out=folder)


def joining(storage: str, notes: Path, changes: dict[str, Any], others: tuple[Path, ...] = ()) -> None:
    """The same on a storage, with quick signs of life; its candidates wait until one of others has begun one."""
    from bitspike.explore import search

    torch.set_num_threads(1)
    search.BEAT, search.STALE = 0.2, 1.5
    search.Search.poll = 0.05
    _note_candidates(notes, others)
    explore(**small(**changes), storage=storage)


def begun(notes: Path) -> list[int]:
    """The candidates that were begun, in that order."""
    return [int(line) for line in notes.read_text().split()] if notes.exists() else []


def _note_candidates(notes: Path, others: tuple[Path, ...] = ()) -> None:
    before = executor.evaluate_candidate

    def noting(setting: Any, number: int, *arguments: Any) -> Any:
        with notes.open("a") as file:
            file.write(f"{number}\n")
        end = time.monotonic() + 60
        while others and not any(begun(other) for other in others):
            assert time.monotonic() < end, f"none of {others} has begun a candidate"
            time.sleep(0.02)
        return before(setting, number, *arguments)

    executor.evaluate_candidate = noting


def _arrange(what: str, times: int) -> None:
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    left = [times]

    def die_when_due() -> None:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def after(owner: Any, name: str) -> None:
        before = getattr(owner, name)

        def patched(*arguments: Any, **options: Any) -> Any:
            found = before(*arguments, **options)
            die_when_due()
            return found

        setattr(owner, name, patched)

    if what == "half a line":
        before = JournalFileBackend.append_logs

        def half(self: Any, logs: Any) -> None:
            at = Path(self._file_path).stat().st_size
            before(self, logs)
            if not left[0]:
                os.truncate(self._file_path, (at + Path(self._file_path).stat().st_size) // 2)
            die_when_due()

        JournalFileBackend.append_logs = half
    elif what == "behind a line":
        after(JournalFileBackend, "append_logs")
    elif what == "enqueued":
        after(store.Store, "add")
    elif what == "in a candidate":
        after(evaluate, "make_candidate")
    elif what == "between row and state":
        after(JournalStorage, "set_trial_user_attr")
    elif what == "table half written":

        def half_written(path: Path, data: bytes) -> None:
            temporary_name(path).write_bytes(data[: len(data) // 2])
            die_when_due()
            atomic_write(path, data)

        import_module("bitspike.explore.explore").atomic_write = half_written
    else:
        raise AssertionError(what)


@contextmanager
def ended(*processes: Any) -> Iterator[None]:
    """Processes that are gone in the end, whatever happens."""
    try:
        yield
    finally:
        for process in processes:
            if process.is_alive():
                process.kill()
            process.join()
