"""Where an exploration is kept: an optuna study in a journal file, in SQLite or in PostgreSQL.

One process, the leader, decides what is tried and writes it down as waiting trials; whoever takes a trial out of the
waiting ones evaluates it. A trial's number is its place in the table, for ever: one that was running when its process
died is done again under the same number.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitspike.explore.pareto import LARGER_IS_BETTER
from bitspike.explore.storage import JOURNAL, lock_beside, make_storage, reachable, shown
from bitspike.locking import FileLock

log = logging.getLogger("bitspike.explore")

PATIENCE = 600.0
"""Seconds for which a process that joins waits for the study to be begun."""

_IDENTITY, _BASELINE, _FINISHED = "bitspike:identity", "bitspike:baseline", "bitspike:finished"
_LEADER = "bitspike:leader"
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
        self._lock = lock_beside(self._storage, "lock")

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

    def leader_lock(self) -> FileLock | None:
        """What the leader of this study holds on SQLite; None on other storages."""
        return lock_beside(self._storage, f"leader-{self._study._study_id}")

    @property
    def leader(self) -> str:
        """The leader's last sign of life; "" where it has ended."""
        return str(self._study.user_attrs.get(_LEADER, ""))

    def set_leader(self, text: str) -> None:
        """Show that the leader is alive: another text each time."""
        self._study.set_user_attr(_LEADER, text)

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
    with reachable(where):
        storage = make_storage(where)
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
    with reachable(where):
        storage = make_storage(where)
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
    with reachable(where):
        try:
            study = optuna.load_study(study_name=name, storage=make_storage(where))
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
