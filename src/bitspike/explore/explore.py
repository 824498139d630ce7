"""`explore`: from a trained network to a table of smaller ones, found by trying."""

from __future__ import annotations

import copy
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.allocation import keep_freed_memory
from bitspike.atomic import atomic_write
from bitspike.block.base import count as check_count
from bitspike.data import Dataset, split_validation
from bitspike.explore.evaluate import Subject
from bitspike.explore.executor import Executor, InProcess, LocalProcesses
from bitspike.explore.exploration import Exploration
from bitspike.explore.leader import leading, leading_folder
from bitspike.explore.numbers import check_objectives
from bitspike.explore.proposals import TRIALS, Proposer, chosen_sampler
from bitspike.explore.search import Search
from bitspike.explore.selection import Baseline
from bitspike.explore.setting import Setting, default_recipe, time_steps_of
from bitspike.explore.space import Space
from bitspike.explore.stdp_setting import StdpSetting, recipe_of
from bitspike.explore.stdp_space import StdpSpace
from bitspike.explore.storage import IN_MEMORY, storage_errors
from bitspike.explore.store import Store, Trial, join_store, open_store
from bitspike.stdp import StdpNetwork, StdpRecipe
from bitspike.train import Recipe

TABLE = "exploration.json"
CALIBRATION = (4, 128)
log = logging.getLogger("bitspike.explore")

Watch = Callable[[Exploration], None]


def explore(
    net: nn.Module | StdpNetwork,
    data: Dataset,
    space: Space | Mapping[str, Any] | None = None,
    *,
    validation: Dataset | float = 0.1,
    objectives: Sequence[str] = ("accuracy", "memory"),
    sampler: str = "auto",
    trials: int | None = None,
    generation: int = 16,
    train: Recipe | StdpRecipe | None = None,
    early_stop: bool = False,
    calibration: tuple[int, int] = CALIBRATION,
    statistics: bool = True,
    seed: int = 0,
    workers: int = 1,
    on: str = "local",
    asynchronous: bool = False,
    out: str | Path | None = None,
    storage: str | None = None,
    name: str = "exploration",
    join: bool = False,
    watch: Watch | None = None,
) -> Exploration:
    """Try what a space says on a trained float network, and return the table of all candidates.

    net: of blocks, or an unsupervised one, whose spaces are of bits.FIELD (`StdpSpace`); calibration, statistics and
    early_stop belong to networks of blocks.

    data: the split that the network was trained on; validation: what candidates are compared on, samples of their own
    or a share of `data` that is taken away first.
    space: dimensions and their values, `Space` or its table; every candidate by default where there are at most 1000,
    or `trials`; else what a sampler ("nsga2", "tpe", "random") proposes, `trials` (100) of them in generations. Trials
    may grow later; name the sampler where they may reach the size of the space.
    train: the recipe by which candidates of the schemes itq and itq-scratch train, by default five epochs; early_stop:
    stop training those far behind an earlier one of no more memory. An unsupervised one learns as it did.
    calibration: batches and samples in each that calibrate; statistics=False leaves batch norms as they are.

    workers: processes; with on="ray" or "ray://HOST:PORT" tasks of a cluster. The table is the same with any number of
    them. asynchronous=True waits for no generation, which is faster, and then it is not.
    out: folder where the table is kept; a killed exploration goes on from there, nothing lost and nothing done twice.
    storage: URL of a database instead, which several processes may share: others join with join=True under the same
    name and with the same arguments. Without either the table is only returned.
    """
    keep_freed_memory()
    _check_place(workers, on, storage, join=join)
    check_count("explore", trials=TRIALS if trials is None else trials, generation=generation)
    training, held = (data, validation) if isinstance(validation, Dataset) else split_validation(data, validation, 0)
    folder = None if out is None else Path(out).expanduser()
    shared: dict[str, Any] = {
        "training": training,
        "validation": held,
        "objectives": check_objectives(objectives),
        "seed": seed,
        "folder": folder,
    }
    subject: Subject
    if isinstance(net, StdpNetwork):
        changed = {
            "early_stop": early_stop,
            "calibration": calibration != CALIBRATION,
            "statistics": not statistics,
        }
        subject = _unsupervised(net, space, train, shared, [name for name, given in changed.items() if given])
    else:
        subject = _blocks(net, data, space, train, shared | {"calibration": calibration, "statistics": statistics})
    proposer = _proposer(subject, sampler, trials, generation, stops=early_stop)
    how = {"early stop": early_stop, "asynchronous": asynchronous}
    identity = _identity(subject, proposer) | how
    with _store(storage, folder, name, identity, subject, join=join) as store:
        baseline = _baseline(store, subject)
        table = _Table(store, baseline, identity, None if join else folder, watch)
        executor = _executor(subject, workers, on)
        if not join:
            store.finish(done=False)
        with storage_errors(storage or IN_MEMORY):
            Search(
                store,
                executor,
                None if join else proposer,
                synchronous=not asynchronous,
                early_stop=early_stop,
                alone=storage is None,
                watch=table.changed,
            ).run()
            if not join:
                store.finish()
            return table.finish(store.trials())


def read_table(folder: str | Path) -> Exploration:
    """The table of an exploration's folder, as far as it is written."""
    file = Path(folder) / TABLE
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no table of an exploration; `bitspike explore` writes it")
    try:
        return Exploration.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from None


def _blocks(
    net: nn.Module,
    data: Dataset,
    space: Space | Mapping[str, Any] | None,
    train: Recipe | StdpRecipe | None,
    shared: dict[str, Any],
) -> Setting:
    """The subject that a network of blocks is."""
    if isinstance(train, StdpRecipe):
        raise TypeError("train is a recipe of an unsupervised network; a network of blocks trains by a Recipe")
    return Setting(
        net=copy.deepcopy(net).eval().cpu(),
        space=Space.of(space),
        recipe=train or default_recipe(data, time_steps_of(net, data)),
        **shared,
    )


def _unsupervised(
    net: StdpNetwork,
    space: Space | Mapping[str, Any] | None,
    train: Recipe | StdpRecipe | None,
    shared: dict[str, Any],
    foreign: Sequence[str],
) -> StdpSetting:
    """The subject that an unsupervised network is; foreign: what was given that it has no use for."""
    if isinstance(train, Recipe):
        raise TypeError("train is a recipe of a network of blocks; an unsupervised network learns by an StdpRecipe")
    if foreign:
        raise ValueError(f"an unsupervised network has no epochs and no calibration; leave out {', '.join(foreign)}")
    return StdpSetting(net=copy.deepcopy(net), space=StdpSpace.of(space), recipe=train or recipe_of(net), **shared)


def _proposer(subject: Subject, sampler: str, trials: int | None, generation: int, *, stops: bool) -> Proposer:
    """stops: some stop early, by what earlier generations came to; else trying everything needs no generations."""
    name = chosen_sampler(sampler, subject.space, trials)
    proposer = Proposer(subject, name, TRIALS if trials is None else trials, generation)
    if proposer.takes_all and not stops:
        proposer = replace(proposer, generation=0)
    proposer.proposals(0, [])  # refuses a space in which nothing can be, before anything is written
    return proposer


def _identity(subject: Subject, proposer: Proposer) -> dict[str, Any]:
    """What makes this exploration, and no other one."""
    return subject.identity() | {
        "space": subject.space.to_dict(),
        "objectives": list(subject.objectives),
        "sampler": proposer.sampler,
        "generation": proposer.generation,
        "seed": subject.seed,
    }


def _check_place(workers: int, on: str, storage: str | None, *, join: bool) -> None:
    check_count("explore", workers=workers)
    if on != "local" and not re.match(r"ray($|://)|auto$", on):
        raise ValueError(
            f"on is {on!r}; allowed: local, ray (a cluster begun here), auto or ray://HOST:PORT (one that runs)"
        )
    if storage is not None and not isinstance(storage, str):
        raise TypeError(f"storage is of type {type(storage).__name__}; give the URL of a database, or a folder as out")
    if join and storage is None:
        raise ValueError("to join an exploration, give the storage that it is in; a folder belongs to one process")


def _executor(subject: Subject, workers: int, on: str) -> Executor:
    if on != "local":
        from bitspike.explore.on_ray import RayCluster

        return RayCluster(subject, on, workers if on == "ray" else None)
    return InProcess(subject) if workers == 1 else LocalProcesses(subject, workers)


@contextmanager
def _store(
    storage: str | None, folder: Path | None, name: str, identity: dict[str, Any], subject: Subject, *, join: bool
) -> Iterator[Store]:
    """The store, and for all but those that join the right to be the only one that proposes."""
    shape = identity, subject.space.dimensions, subject.objectives
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if storage is None:
        with nullcontext() if folder is None else leading_folder(folder):
            yield open_store(folder or IN_MEMORY, name, *shape)
    elif join:
        yield join_store(storage, name, *shape)
    else:
        store = open_store(storage, name, *shape)
        with leading(store, storage, name):
            yield store


def _baseline(store: Store, subject: Subject) -> Baseline:
    """The float network on the validation samples; measured once."""
    found = store.baseline
    if found is None:
        found = subject.baseline()
        store.set_baseline(found)
    return Baseline(float(found["accuracy"]), int(found["memory"]), len(subject.validation))


class _Table:
    """Keeps the table beside the store, where people and scripts can read it."""

    EVERY = 5.0

    def __init__(
        self, store: Store, baseline: Baseline, identity: dict[str, Any], folder: Path | None, watch: Watch | None
    ) -> None:
        self._store, self._baseline, self._identity = store, baseline, identity
        self._folder, self._watch = folder, watch
        self._written = 0.0

    def changed(self, trials: Sequence[Trial]) -> None:
        """Some candidate has ended."""
        due = self._folder is not None and time.monotonic() - self._written > self.EVERY
        if not due and self._watch is None:
            return
        found = Exploration.of(trials, self._baseline, self._identity)
        if self._watch is not None:
            self._watch(found)
        if due:
            self._write(found)

    def finish(self, trials: Sequence[Trial]) -> Exploration:
        """All have ended."""
        found = Exploration.of(trials, self._baseline, self._identity)
        self._write(found)
        return found

    def _write(self, found: Exploration) -> None:
        if self._folder is not None:
            atomic_write(self._folder / TABLE, (json.dumps(found.to_dict(), indent=1) + "\n").encode())
            self._written = time.monotonic()
