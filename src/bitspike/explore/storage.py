"""Where studies lie, journal files, SQLite, PostgreSQL: how they are opened, locked, mended, what their errors say."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bitspike.locking import FileLock

JOURNAL = "study.journal"
IN_MEMORY = "memory"
HIDDEN = "***"
"""What stands for a password."""


@contextmanager
def reachable(where: str | Path) -> Iterator[None]:
    """`storage_errors`, and drivers that are missing; optuna's chatter only where something is wrong."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with storage_errors(where):
            yield
    except ImportError as error:
        cause = error if error.name else error.__cause__ or error.__context__ or error
        needs = getattr(cause, "name", None) or str(error)
        extra = "; pip install 'bitspike[postgresql]'" if "psycopg" in needs else ", which is not installed"
        raise ValueError(f"the storage {shown(where)} needs {needs}{extra}") from None


@contextmanager
def storage_errors(where: str | Path) -> Iterator[None]:
    """The database's own errors in one sentence."""
    import optuna

    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise ValueError(f"the storage {shown(where)} cannot be used: {_first_line(error)}") from None
    except Exception as error:
        if not type(error).__module__.startswith("sqlalchemy"):
            raise
        raise ValueError(f"the storage {shown(where)} cannot be used: {_first_line(error)}") from None


def shown(where: str | Path) -> str:
    """A storage as it may be printed: without the password."""
    without = re.sub(r"(://[^:/@]*:)[^@]*@", rf"\1{HIDDEN}@", str(where))
    return re.sub(r"([?&]password=)[^&]*", rf"\1{HIDDEN}", without)


def kept(url: str) -> str:
    """A storage as it may be written down: without the password, SQLite's file told from the root."""
    return shown(re.sub(r"^(sqlite[^:]*:///)(?=[^/:])", lambda found: f"{found[1]}{Path.cwd()}/", url))


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def make_storage(where: str | Path) -> Any:
    """The storage of a folder, of a URL, or in memory."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    if where == IN_MEMORY:
        return optuna.storages.InMemoryStorage()
    if isinstance(where, Path):
        where.mkdir(parents=True, exist_ok=True)
        file = where / JOURNAL
        lock: Any = FileLock(file.with_suffix(".lock"))
        _repair(file, lock)
        return optuna.storages.JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    return _database(where)


def _database(url: str) -> Any:
    import sqlalchemy
    from optuna.storages import RDBStorage

    if not re.match(r"[a-z0-9+]+://", url):
        raise ValueError(f"the storage is {url!r}; give a URL such as sqlite:///study.db or postgresql://HOST/NAME")
    # SQLAlchemy would take the older psycopg2 for the short name.
    full = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
    try:
        parts = sqlalchemy.engine.make_url(full)
    except (ValueError, sqlalchemy.exc.ArgumentError) as error:
        raise ValueError(f"the storage {shown(url)} is no URL of a database: {_first_line(error)}") from None
    options: dict[str, Any] = {"pool_pre_ping": True}
    if parts.get_backend_name() == "sqlite":
        if parts.database in (None, "", ":memory:"):
            raise ValueError(f"the storage is {url!r}, which is one process's own; name a file: sqlite:///study.db")
        options["connect_args"] = {"timeout": 60}  # seconds that it waits while another process writes
    elif parts.drivername == "postgresql+psycopg":
        options["connect_args"] = {"connect_timeout": 10}
    with _loggers_kept():
        for tries_left in (4, 3, 2, 1):
            try:
                return RDBStorage(full, engine_kwargs=options)
            except sqlalchemy.exc.SQLAlchemyError as error:
                # Several processes that come first make the same tables.
                if not re.search("already exists|duplicate key|UNIQUE", str(error)):
                    raise
                time.sleep(0.5 * (5 - tries_left))
        return RDBStorage(full, engine_kwargs=options)


@contextmanager
def _loggers_kept() -> Iterator[None]:
    """Where nobody has set up logging, optuna's alembic would, and silence all loggers that are there already."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def lock_beside(storage: Any, ending: str) -> FileLock | None:
    """A lock beside SQLite's file, which alone cannot tell two processes apart; None of other storages."""
    url = getattr(getattr(getattr(storage, "_backend", None), "engine", None), "url", None)
    if url is None or url.get_backend_name() != "sqlite":
        return None
    return FileLock(Path(f"{url.database}.{ending}"))


def _repair(file: Path, lock: FileLock) -> None:
    """Cut off a last line that a killed process left half written; the next one would be glued to it."""
    if not file.is_file():
        return
    lock.acquire()
    try:
        with file.open("r+b") as journal:
            content = journal.read()
            journal.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
