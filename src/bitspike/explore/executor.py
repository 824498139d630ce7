"""Who evaluates candidates: this process, processes of this machine, or, in `explore.on_ray`, a cluster."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from bitspike.allocation import keep_freed_memory
from bitspike.explore.evaluate import Hopeless, Rival, Subject, evaluate_candidate
from bitspike.explore.store import COMPLETE, FAILED, PRUNED

log = logging.getLogger("bitspike.explore")

RETRIES = 3
"""How often a candidate is tried again whose process dies."""


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

    @property
    def slots(self) -> int:
        """How many jobs it wants at once."""

    def submit(self, job: Job) -> None:
        """Begin, or queue, a job."""

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended; waits at most so many seconds for the first."""

    def close(self) -> None:
        """Stop what runs."""


def run_job(subject: Subject, job: Job) -> Outcome:
    """Evaluate a candidate; what is wrong with it becomes its outcome, so that all others go on.

    Only errors that another candidate could not share are caught: values that do not fit each other.
    """
    began = time.perf_counter()
    try:
        row = evaluate_candidate(subject, job.number, job.choices, job.rivals)
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

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._jobs: deque[Job] = deque()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)

    def finished(self, timeout: float) -> list[Outcome]:
        """Evaluate the next job."""
        return [run_job(self._subject, self._jobs.popleft())] if self._jobs else []

    def close(self) -> None:
        """Forget what is queued."""
        self._jobs.clear()


class LocalProcesses:
    """Evaluates in processes of this machine, each on one thread; one that dies is replaced, its job done again."""

    def __init__(self, subject: Subject, workers: int) -> None:
        self.slots = workers
        self._subject = subject
        self._queue: deque[Job] = deque()
        self._workers: list[_Worker] = []
        self._deaths: Counter[int] = Counter()
        self._stillborn = 0

    def submit(self, job: Job) -> None:
        """Queue a job; a process takes it as soon as one is free."""
        self._queue.append(job)
        self._hand_out()

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended."""
        if not self._workers:
            return []
        ready = wait([worker.pipe for worker in self._workers], timeout)
        outcomes = [outcome for worker in list(self._workers) if worker.pipe in ready for outcome in self._read(worker)]
        self._hand_out()
        return outcomes

    def close(self) -> None:
        """Stop the processes, in the middle of their work if need be."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()
        self._queue.clear()

    def _hand_out(self) -> None:
        while self._queue:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if free is None:
                if len(self._workers) >= self.slots:
                    return
                free = _Worker.begin(self._subject)
                self._workers.append(free)
            job = self._queue.popleft()
            free.job = job
            with contextlib.suppress(OSError):  # it is dead, which its pipe tells as well
                free.pipe.send(job)

    def _read(self, worker: _Worker) -> list[Outcome]:
        """What a process says; nothing more, where it has died."""
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker)
        if said == _BEGUN:
            worker.begun, self._stillborn = True, 0
            return []
        worker.job = None
        if isinstance(said, BaseException):
            raise said
        return [said]

    def _bury(self, worker: _Worker) -> list[Outcome]:
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        job, code = worker.job, worker.process.exitcode
        if not worker.begun:
            self._stillborn += 1
            if self._stillborn > RETRIES:
                raise RuntimeError(
                    f"no process for candidates can begin ({_how_it_ended(code)}); in a script, call explore below "
                    "`if __name__ == '__main__':`, since each process reads the script again, or use workers=1"
                )
        elif job is not None:
            self._deaths[job.number] += 1
            if self._deaths[job.number] > RETRIES:
                told = f"its process died {RETRIES + 1} times ({_how_it_ended(code)}), perhaps for want of memory"
                return [Outcome(job.number, FAILED, {"choices": dict(job.choices), "error": told})]
            log.warning("a process died (%s); candidate %d is done again", _how_it_ended(code), job.number)
        if job is not None:
            self._queue.appendleft(job)
        return []


_BEGUN = "begun"


@dataclass
class _Worker:
    """A process, the pipe to it, and what it works on."""

    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    begun: bool = False

    @classmethod
    def begin(cls, subject: Subject) -> _Worker:
        context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(subject, theirs, os.getpid()), daemon=True)
        with _one_thread():
            process.start()
        theirs.close()  # or the end of the process would not be seen
        return cls(process, ours)


def _work(subject: Subject, pipe: Connection, parent: int) -> None:
    """What a process does: one job after the other, for as long as its parent lives."""
    import torch

    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes itself
    torch.set_num_threads(1)
    keep_freed_memory()
    pipe.send(_BEGUN)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            said: Any = run_job(subject, job)
        except Exception as error:  # shown where the exploration was called
            error.add_note(f"in candidate {job.number}, {dict(job.choices)}:\n{traceback.format_exc()}")
            said = error
        try:
            pipe.send(said)
        except (pickle.PicklingError, TypeError, AttributeError):
            pipe.send(RuntimeError(f"candidate {job.number}: {said!r}"))


def _how_it_ended(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


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
