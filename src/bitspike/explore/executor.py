"""Who evaluates candidates: this process, processes of this machine, or, in `explore.on_ray`, a cluster."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any, Protocol

from bitspike.explore.evaluate import Hopeless, Rival, Setting, evaluate_candidate
from bitspike.explore.store import COMPLETE, FAILED, PRUNED

log = logging.getLogger("bitspike.explore")

RETRIES = 3
"""How often a candidate is tried whose process dies."""


@dataclass(frozen=True)
class Job:
    """One candidate to evaluate; rivals: beside which it may turn out hopeless, where it trains; None: it may not."""

    number: int
    choices: Mapping[str, Any]
    rivals: tuple[Rival, ...] | None = None


@dataclass(frozen=True)
class Outcome:
    """How a candidate ended, and its row."""

    number: int
    state: str
    row: dict[str, Any]


class Executor(Protocol):
    """Takes jobs and gives outcomes, in any order."""

    slots: int

    def submit(self, job: Job) -> None:
        """Begin, or queue, a job."""

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended; waits at most so many seconds for the first."""

    def close(self) -> None:
        """Stop what runs."""


def run_job(setting: Setting, job: Job) -> Outcome:
    """Evaluate a candidate; what is wrong with it becomes its outcome, so that all others go on.

    Only errors that another candidate could not share are caught: values that do not fit each other.
    """
    began = time.perf_counter()
    try:
        row = evaluate_candidate(setting, job.number, job.choices, job.rivals)
        state = COMPLETE
    except Hopeless as stopped:
        row = {"choices": dict(job.choices), "history": stopped.history, "memory": stopped.memory}
        state = PRUNED
    except (ValueError, TypeError) as error:
        row, state = {"choices": dict(job.choices), "error": str(error)}, FAILED
    return Outcome(job.number, state, row | {"seconds": round(time.perf_counter() - began, 3)})


class InProcess:
    """Evaluates in this process, one after the other."""

    slots = 1

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)

    def finished(self, timeout: float) -> list[Outcome]:
        """Evaluate the next job."""
        return [run_job(self._setting, self._jobs.popleft())] if self._jobs else []

    def close(self) -> None:
        """Forget what is queued."""
        self._jobs.clear()


class LocalProcesses:
    """Evaluates in processes of this machine, each on one thread; one that dies is replaced."""

    def __init__(self, setting: Setting, workers: int) -> None:
        self.slots = workers
        self._setting = setting
        self._pool = self._make_pool()
        self._running: dict[Future[Outcome], Job] = {}
        self._tries: dict[int, int] = {}

    def _make_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
        return ProcessPoolExecutor(
            self.slots, mp_context=context, initializer=_begin, initargs=(self._setting, os.getpid())
        )

    def submit(self, job: Job) -> None:
        """Begin a job."""
        self._tries[job.number] = self._tries.get(job.number, 0) + 1
        with _one_thread():
            self._running[self._pool.submit(_work, job)] = job

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended."""
        done, _ = wait(self._running, timeout=timeout, return_when=FIRST_COMPLETED)
        outcomes, broken = [], []
        for future in done:
            job = self._running.pop(future)
            try:
                outcomes.append(future.result())
            except BrokenProcessPool:
                broken.append(job)
        if broken:
            outcomes += self._begin_again(broken)
        return outcomes

    def _begin_again(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One process that died takes the pool with it: which candidate it was cannot be told."""
        jobs = [*jobs, *self._running.values()]
        self._running.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = self._make_pool()
        outcomes = []
        for job in jobs:
            if self._tries[job.number] >= RETRIES:
                told = f"its process died {RETRIES} times, perhaps for want of memory"
                outcomes.append(Outcome(job.number, FAILED, {"choices": dict(job.choices), "error": told}))
            else:
                log.warning("a process died; candidate %d is done again", job.number)
                self.submit(job)
        return outcomes

    def close(self) -> None:
        """Stop the processes, in the middle of their work if need be."""
        processes = list((self._pool._processes or {}).values())
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with contextlib.suppress(ProcessLookupError, AttributeError):
                process.terminate()


_SETTING: list[Setting] = []


def _begin(setting: Setting, parent: int) -> None:
    import torch

    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes itself
    torch.set_num_threads(1)
    _SETTING[:] = [setting]


def _work(job: Job) -> Outcome:
    return run_job(_SETTING[0], job)


def _die_with(parent: int) -> None:
    """End with the parent, however it ends; Linux alone can promise it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Processes that begin inside take one thread each, whatever the parent may use."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
