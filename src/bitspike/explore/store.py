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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitspike.explore.pareto import LARGER_IS_BETTER

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
        self._study, self._storage = study, study._storage
        self._dimensions, self._objectives = dimensions, tuple(objectives)

    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [_trial(found) for found in self._study.get_trials(deepcopy=False)]

    def add(self, choices: Mapping[str, Any], generation: int, system: Mapping[str, Any] | None = None) -> None:
        """Write down a candidate that waits; system: what the sampler wants to remember of it."""
        import optuna

        distributions: dict[str, Any] = {
            name: optuna.distributions.CategoricalDistribution(list(values))
            for name, values in self._dimensions.items()
        }
        self._study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.WAITING,
                params=dict(choices),
                distributions=distributions,
                user_attrs={_GENERATION: generation},
                system_attrs=dict(system or {}),
            )
        )

    def claim(self, number: int) -> bool:
        """Take a waiting trial; False where another process was faster."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        try:
            return bool(self._storage.set_trial_state_values(self._id(number), TrialState.RUNNING))
        except UpdateFinishedTrialError:
            return False

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
    """The study of that name, made where it is missing; refused where it is another exploration's.

    where: a folder, for a journal file in it, the URL of a database, or `IN_MEMORY`.
    """
    import optuna

    plain = json.loads(json.dumps(identity))
    with _reachable(where):
        storage = _storage(where)
        directions: Any = ["maximize" if LARGER_IS_BETTER[objective] else "minimize" for objective in objectives]
        try:
            study = optuna.create_study(study_name=name, storage=storage, directions=directions)
            study.set_user_attr(_IDENTITY, plain)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=storage)
    stored = study.user_attrs.get(_IDENTITY)
    if stored is None:  # killed between the two steps above
        study.set_user_attr(_IDENTITY, plain)
    elif stored != plain:
        keys = sorted({*stored, *plain})
        other = [key for key in keys if stored.get(key) != plain.get(key)]
        raise ValueError(
            f"the study {name!r} in {where} is another exploration: it differs in {', '.join(other)}; "
            "continue with what it was begun with, or choose another folder or name"
        )
    return Store(study, dimensions, objectives)


def stored_identity(where: str | Path, name: str) -> dict[str, Any]:
    """What a study was begun with."""
    import optuna

    if isinstance(where, Path) and not (where / JOURNAL).is_file():
        raise FileNotFoundError(f"{where} holds no exploration; `bitspike explore MODEL --out {where}` begins one")
    with _reachable(where):
        try:
            study = optuna.load_study(study_name=name, storage=_storage(where))
        except KeyError:
            raise ValueError(f"there is no study {name!r} in {where}") from None
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
    """The database's own errors in one sentence; optuna's chatter only where something is wrong."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        yield
    except (ImportError, ModuleNotFoundError) as error:
        raise ModuleNotFoundError(
            f"the storage {where} needs {error.name}: pip install 'bitspike[postgresql]'", name=error.name
        ) from None
    except optuna.exceptions.StorageInternalError as error:
        raise ValueError(f"the storage {where} cannot be used: {_first_line(error)}") from None
    except Exception as error:
        if type(error).__module__.startswith("sqlalchemy"):
            raise ValueError(f"the storage {where} cannot be used: {_first_line(error)}") from None
        raise


def _first_line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__


def _storage(where: str | Path) -> Any:
    import optuna
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend

    if where == IN_MEMORY:
        return optuna.storages.InMemoryStorage()
    if isinstance(where, Path):
        where.mkdir(parents=True, exist_ok=True)
        file = where / JOURNAL
        lock: Any = FileLock(file.with_suffix(".lock"))
        _repair(file, lock)
        return optuna.storages.JournalStorage(JournalFileBackend(str(file), lock_obj=lock))
    if "://" not in where:
        raise ValueError(f"the storage is {where!r}; give a URL such as sqlite:///study.db or postgresql://HOST/NAME")
    # SQLAlchemy would take the older psycopg2 for the short name.
    return RDBStorage(
        where.replace("postgresql://", "postgresql+psycopg://", 1).replace("postgres://", "postgresql+psycopg://", 1)
    )


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
