"""Where an exploration is kept: an optuna study in a journal file, in SQLite or in PostgreSQL.

One process, the leader, decides what is tried and writes it down as waiting trials; whoever takes a trial out of the
waiting ones evaluates it. A trial's number is its place in the table, for ever: one that was running when its process
died is done again under the same number.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitspike.explore.pareto import LARGER_IS_BETTER

log = logging.getLogger("bitspike.explore")

PATIENCE = 600.0
"""Seconds for which a process that joins waits for the study to be begun."""

JOURNAL = "study.journal"
IN_MEMORY = "memory"
_IDENTITY, _BASELINE, _FINISHED = "bitspike:identity", "bitspike:baseline", "bitspike:finished"
_ROW, _GENERATION, _ALIVE = "bitspike:row", "bitspike:generation", "bitspike:alive"

WAITING, RUNNING, COMPLETE, PRUNED, FAILED = "waiting", "running", "complete", "pruned", "failed"


@dataclass(frozen=True)
class Trial:
    """One candidate as it is stored; row: its numbers, once it is finished, or why there are none ("error")."""

    number: int
    state: str
    choices: dict[str, Any]
    generation: int
    row: dict[str, Any] | None
    alive: str
    system: dict[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state in (COMPLETE, PRUNED, FAILED)


class Store:
    """An optuna study, as far as an exploration needs it."""

    def __init__(self, study: Any, dimensions: Mapping[str, Sequence[Any]], objectives: Sequence[str]) -> None:
        import optuna

        self._study, self._storage = study, study._storage
        self._objectives = tuple(objectives)
        self._distributions: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(list(values)) for name, values in dimensions.items()
        }
        self._finished: dict[int, Trial] = {}
        self._lock = _claim_lock(self._storage)

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        trials = []
        for found in self._study.get_trials(deepcopy=False):
            trial = self._finished.get(found.number) or _trial(found)
            if trial.is_finished:
                self._finished[trial.number] = trial
            trials.append(trial)
        return trials

    def add(self, choices: Mapping[str, Any], generation: int, system: Mapping[str, Any] | None = None) -> None:
        """Write down a candidate that waits; system: what the sampler wants to remember of it."""
        import optuna

        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING,
                params=dict(choices),
                distributions=self._distributions,
                user_attrs={_GENERATION: generation},
                system_attrs=dict(system or {}),
            )
        )

    def claim(self, number: int) -> bool:
        """Take a waiting trial; False where another process was faster."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            with self._one_at_a_time():
                return bool(self._storage.set_trial_state_values(self._id(number), TrialState.RUNNING))
        except UpdateFinishedTrialError:
            return False

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """SQLite knows no lock for a single row, so that two processes could take the same trial."""
        if self._lock is None:
            yield
            return
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def tell(self, number: int, state: str, row: Mapping[str, Any]) -> None:
        """Write down the end of a trial; where another process has done so, its word stands."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        states = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED, FAILED: TrialState.FAIL}
        values = [float(row[name]) for name in self._objectives] if state == COMPLETE else None
        try:
            self._storage.set_trial_user_attr(self._id(number), _ROW, json.loads(json.dumps(row)))
            self._storage.set_trial_state_values(self._id(number), states[state], values)
        except UpdateFinishedTrialError:
            return

    def beat(self, number: int, text: str) -> None:
        """Show that whoever evaluates a trial is alive: another text each time."""
        from optuna.exceptions import UpdateFinishedTrialError

        try:
            self._storage.set_trial_user_attr(self._id(number), _ALIVE, text)
        except UpdateFinishedTrialError:
            return

    @property
    def baseline(self) -> dict[str, Any] | None:
        """The float network's numbers."""
        found: dict[str, Any] | None = self._study.user_attrs.get(_BASELINE)
        return found

    def set_baseline(self, numbers: Mapping[str, Any]) -> None:
        """Write down the float network's numbers."""
        self._study.set_user_attr(_BASELINE, dict(numbers))

    @property
    def is_finished(self) -> bool:
        """Whether the leader has said that nothing more will come."""
        return bool(self._study.user_attrs.get(_FINISHED))

    def finish(self, *, done: bool = True) -> None:
        """Say whether anything more will come."""
        self._study.set_user_attr(_FINISHED, done)

    def _id(self, number: int) -> int:
        found: int = self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
        return found


def open_store(
    where: str | Path,
    name: str,
    identity: Mapping[str, Any],
    dimensions: Mapping[str, Sequence[Any]],
    objectives: Sequence[str],
) -> Store:
    """The leader's: the study of that name, made where it is missing; refused where it is another exploration's.

    where: a folder, for a journal file in it, the URL of a database, or `IN_MEMORY`.
    """
    import optuna

    plain = json.loads(json.dumps(identity))
    with _reachable(where):
        storage = _storage(where)
        directions: Any = ["maximize" if LARGER_IS_BETTER[objective] else "minimize" for objective in objectives]
        try:
            study = optuna.create_study(study_name=name, storage=storage, directions=directions)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=storage)
        stored = study.user_attrs.get(_IDENTITY)
        if stored is None:  # new, or its leader was killed before it could say what it is
            study.set_user_attr(_IDENTITY, plain)
            stored = plain
    _refuse_other(where, name, stored, plain)
    return Store(study, dimensions, objectives)


def join_store(
    where: str,
    name: str,
    identity: Mapping[str, Any],
    dimensions: Mapping[str, Sequence[Any]],
    objectives: Sequence[str],
) -> Store:
    """Everybody else's: the study of that name, once its leader has begun it; waits for that up to `PATIENCE`."""
    import optuna

    told = False
    with _reachable(where):
        storage = _storage(where)
        end = time.monotonic() + PATIENCE
        while True:
            try:
                study = optuna.load_study(study_name=name, storage=storage)
            except KeyError:
                study = None
            attributes = {} if study is None else study.user_attrs
            if _IDENTITY in attributes:
                _refuse_other(where, name, attributes[_IDENTITY], json.loads(json.dumps(identity)))
            if _BASELINE in attributes:
                return Store(study, dimensions, objectives)
            if not told:
                log.warning("waiting for the study %r in %s to be begun", name, shown(where))
                told = True
            if time.monotonic() > end:
                raise ValueError(
                    f"nobody has begun the study {name!r} in {shown(where)} for {PATIENCE:g} seconds; "
                    "one process must explore without join"
                )
            time.sleep(min(1.0, PATIENCE / 10))


def _refuse_other(where: str | Path, name: str, stored: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    other = [key for key in sorted({*stored, *ours}) if stored.get(key) != ours.get(key)]
    if other:
        raise ValueError(
            f"the study {name!r} in {shown(where)} is another exploration: it differs in {', '.join(other)}; "
            "continue with what it was begun with, or choose another folder or name"
        )


def stored_identity(where: str | Path, name: str) -> dict[str, Any]:
    """What a study was begun with."""
    import optuna

    if isinstance(where, Path) and not (where / JOURNAL).is_file():
        raise FileNotFoundError(f"{where} holds no exploration; `bitspike explore MODEL --out {where}` begins one")
    with _reachable(where):
        try:
            study = optuna.load_study(study_name=name, storage=_storage(where))
        except KeyError:
            raise ValueError(f"there is no study {name!r} in {shown(where)}") from None
    found: dict[str, Any] = study.user_attrs.get(_IDENTITY, {})
    return found


def _trial(found: Any) -> Trial:
    states = {"WAITING": WAITING, "RUNNING": RUNNING, "COMPLETE": COMPLETE, "PRUNED": PRUNED, "FAIL": FAILED}
    attributes = found.user_attrs
    state = states[found.state.name]
    row = attributes.get(_ROW) if state in (COMPLETE, PRUNED, FAILED) else None
    return Trial(
        found.number,
        state,
        dict(found.params),
        int(attributes.get(_GENERATION, 0)),
        row,
        str(attributes.get(_ALIVE, "")),
        dict(found.system_attrs),
    )


@contextmanager
def _reachable(where: str | Path) -> Iterator[None]:
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
    return re.sub(r"(://[^:/@]*:)[^/]*@", r"\1***@", str(where))


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _storage(where: str | Path) -> Any:
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


def _claim_lock(storage: Any) -> FileLock | None:
    url = getattr(getattr(getattr(storage, "_backend", None), "engine", None), "url", None)
    if url is None or url.get_backend_name() != "sqlite":
        return None
    return FileLock(Path(f"{url.database}.lock"))


class FileLock:
    """A lock that the system takes back from a process that is killed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._held: int | None = None

    def acquire(self) -> bool:
        """Wait until nobody else has it."""
        self._held = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._held, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


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
