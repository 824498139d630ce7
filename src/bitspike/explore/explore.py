"""`explore`: from a trained network to a table of smaller ones, found by trying."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.allocation import keep_freed_memory
from bitspike.atomic import atomic_write
from bitspike.block import ImageInput, blocks_of
from bitspike.block.base import count as check_count
from bitspike.block.quantize import foreign_modules
from bitspike.block.spec_of import spec_of
from bitspike.data import Dataset, split_validation
from bitspike.drawing import check_draw
from bitspike.explore.evaluate import Setting, default_recipe
from bitspike.explore.executor import Executor, InProcess, LocalProcesses
from bitspike.explore.exploration import Exploration
from bitspike.explore.numbers import check_objectives
from bitspike.explore.proposals import Proposer, chosen_sampler
from bitspike.explore.search import Search
from bitspike.explore.selection import Baseline
from bitspike.explore.space import Space
from bitspike.explore.store import IN_MEMORY, Store, Trial, open_store
from bitspike.measuring import measure
from bitspike.train import Recipe, evaluate
from bitspike.train.container import weights_digest

TABLE = "exploration.json"
log = logging.getLogger("bitspike.explore")

Watch = Callable[[Exploration], None]


def explore(
    net: nn.Module,
    data: Dataset,
    space: Space | Mapping[str, Any] | None = None,
    *,
    validation: Dataset | float = 0.1,
    objectives: Sequence[str] = ("accuracy", "memory"),
    sampler: str = "auto",
    trials: int = 100,
    generation: int = 16,
    train: Recipe | None = None,
    early_stop: bool = False,
    calibration: tuple[int, int] = (4, 128),
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

    data: the split that the network was trained on; validation: what candidates are compared on, samples of their own
    or a share of `data` that is taken away first.
    space: dimensions and their values, `Space` or its table; every candidate by default where there are at most 1000,
    else what a sampler ("nsga2", "tpe", "random") proposes, `trials` of them in generations.
    train: the recipe by which candidates of the schemes itq and itq-scratch train, by default five epochs; early_stop:
    stop training those far behind an earlier one of no more memory.
    calibration: batches and samples in each that calibrate; statistics=False leaves batch norms as they are.

    workers: processes; with on="ray" or "ray://HOST:PORT" tasks of a cluster. The table is the same with any number of
    them. asynchronous=True waits for no generation, which is faster, and then it is not.
    out: folder where the table is kept; a killed exploration goes on from there, nothing lost and nothing done twice.
    storage: URL of a database instead, which several processes may share: others join with join=True under the same
    name and with the same arguments. Without either the table is only returned.
    """
    keep_freed_memory()
    setting, identity, proposer = _prepare(
        net, data, space, validation, objectives, sampler, trials, generation, train, calibration, statistics, seed, out
    )
    _check_place(workers, on, storage, join=join)
    folder = None if out is None else Path(out).expanduser()
    with _store(storage, folder, name, identity, setting) as store:
        baseline = _baseline(store, setting)
        rival = _Watcher(store, baseline, identity, folder, watch)
        executor = _executor(setting, workers, on)
        if not join:
            store.finish(done=False)
        Search(
            store,
            executor,
            None if join else proposer,
            synchronous=not asynchronous,
            early_stop=early_stop,
            alone=storage is None,
            watch=rival.changed,
        ).run()
        if not join:
            store.finish()
        return rival.finish(store.trials())


def read_table(folder: str | Path) -> Exploration:
    """The table of an exploration's folder, as far as it is written."""
    file = Path(folder) / TABLE
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no table of an exploration; `bitspike explore` writes it")
    try:
        return Exploration.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from None


def _prepare(
    net: nn.Module,
    data: Dataset,
    space: Space | Mapping[str, Any] | None,
    validation: Dataset | float,
    objectives: Sequence[str],
    sampler: str,
    trials: int,
    generation: int,
    train: Recipe | None,
    calibration: tuple[int, int],
    statistics: bool,
    seed: int,
    out: str | Path | None,
) -> tuple[Setting, dict[str, Any], Proposer]:
    """Check everything before anything is written; what all candidates share, and what makes this exploration."""
    check_count("explore", trials=trials, generation=generation)
    if foreign := foreign_modules(net):
        raise ValueError(
            f"explore: the network has modules that are no blocks, {', '.join(foreign)}; see bitspike import"
        )
    if isinstance(validation, Dataset):
        training, held = data, validation
    else:
        training, held = split_validation(data, validation, seed=0)
    check_draw(net, training, *calibration, "explore")
    chosen = Space.of(space)
    setting = Setting(
        net.eval().cpu(),
        chosen,
        training,
        held,
        check_objectives(objectives),
        calibration,
        seed,
        train or default_recipe(data, _time_steps(net, data)),
        None if out is None else Path(out).expanduser(),
        statistics,
    )
    name = chosen_sampler(sampler, chosen)
    proposer = Proposer(chosen, setting.states, setting.objectives, name, trials, generation, seed)
    if proposer.takes_all:
        distinct = proposer.distinct()
        trains = any(chosen.candidate(choices).trains for choices in distinct)
        proposer = replace(proposer, generation=generation if trains else 0)
    identity = {
        "space": chosen.to_dict(),
        "network": weights_digest(dict(net.state_dict())),
        "quant": spec_of(net).to_dict(),
        "training data": training.fingerprint,
        "validation data": held.fingerprint,
        "objectives": list(setting.objectives),
        "sampler": name,
        "generation": proposer.generation,
        "calibration": list(calibration),
        "statistics": statistics,
        "seed": seed,
        "train": setting.recipe.training_dict() if setting.recipe is not None else None,
    }
    return setting, identity, proposer


def _time_steps(net: nn.Module, data: Dataset) -> int:
    shown = [block.time_steps for _, block in blocks_of(net) if isinstance(block, ImageInput)]
    return data.time_steps or (shown[0] if shown else 1)


def _check_place(workers: int, on: str, storage: str | None, *, join: bool) -> None:
    check_count("explore", workers=workers)
    if on != "local" and not re.match(r"ray($|://)|auto$", on):
        raise ValueError(
            f"on is {on!r}; allowed: local, ray (a cluster begun here), auto or ray://HOST:PORT (one that runs)"
        )
    if join and storage is None:
        raise ValueError("to join an exploration, give the storage that it is in; a folder belongs to one process")


def _executor(setting: Setting, workers: int, on: str) -> Executor:
    if on != "local":
        from bitspike.explore.on_ray import RayCluster

        return RayCluster(setting, on, workers if on == "ray" else None)
    return InProcess(setting) if workers == 1 else LocalProcesses(setting, workers)


@contextmanager
def _store(
    storage: str | None, folder: Path | None, name: str, identity: dict[str, Any], setting: Setting
) -> Iterator[Store]:
    """The store, and for a folder the right to be the only one that writes there."""
    dimensions = setting.space.dimensions
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    if storage is not None or folder is None:
        yield open_store(storage or IN_MEMORY, name, identity, dimensions, setting.objectives)
        return
    lock = os.open(folder / "leader.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process explores in {folder}; wait for it, or choose another folder") from None
        yield open_store(folder, name, identity, dimensions, setting.objectives)
    finally:
        os.close(lock)


def _baseline(store: Store, setting: Setting) -> Baseline:
    """The float network on the validation samples; measured once."""
    found = store.baseline
    if found is None:
        accuracy = evaluate(setting.net, setting.validation, batch=256).accuracy
        found = {"accuracy": accuracy, "memory": measure(setting.net).float_memory.total}
        store.set_baseline(found)
    return Baseline(float(found["accuracy"]), int(found["memory"]), len(setting.validation))


class _Watcher:
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
        found = Exploration.of(trials, self._baseline, self._identity)
        if self._watch is not None:
            self._watch(found)
        if time.monotonic() - self._written > self.EVERY:
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
