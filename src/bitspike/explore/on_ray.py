"""Candidates as tasks of a Ray cluster, its nodes told what all share once; a node that is lost costs only time."""

from __future__ import annotations

import os
import time
from typing import Any

from bitspike.explore.evaluate import Subject
from bitspike.explore.executor import RETRIES, Job, Outcome, run_job
from bitspike.explore.store import FAILED

RECOUNT = 5.0
"""Seconds after which the cores of a cluster, which may grow, are counted again."""


class RayCluster:
    """Evaluates on a cluster: "ray" begins one on this machine, "ray://HOST:PORT" or "auto" joins one."""

    def __init__(self, subject: Subject, address: str = "ray", workers: int | None = None) -> None:
        try:
            import ray as found
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                "exploring on a cluster needs Ray: pip install 'bitspike[ray]'", name="ray"
            ) from None
        ray: Any = found
        self._ray = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            _connect(ray, address, workers)
        self._counted, self._cores = 0.0, 1
        self._subject = [ray.put(subject)]  # in a list, or Ray would unpack it anew for every candidate
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_remote)
        self._running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        """Twice the cores that the cluster has now: whoever ends one candidate finds the next at hand."""
        if not self._counted or time.monotonic() - self._counted > RECOUNT:
            self._cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            self._counted = time.monotonic()
        return 2 * self._cores

    def submit(self, job: Job) -> None:
        """Begin a job, wherever there is room."""
        self._running[self._task.remote(self._subject, job)] = job

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended."""
        if not self._running:
            return []
        waiting = list(self._running)
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=timeout)
        if done:  # and whatever else is there by now
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._outcome(reference) for reference in done]

    def _outcome(self, reference: Any) -> Outcome:
        job = self._running.pop(reference)
        try:
            found: Outcome = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.as_instanceof_cause() from None  # an error of the exploration, not of the cluster
        except self._ray.exceptions.RayError as error:
            told = f"it was lost {RETRIES + 1} times on the cluster: {type(error).__name__}"
            return Outcome(job.number, FAILED, {"choices": dict(job.choices), "error": told})
        return found

    def close(self) -> None:
        """Stop what runs, and the cluster if it was begun here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    if address == "ray":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        options |= {"num_cpus": workers or os.cpu_count(), "include_dashboard": False}
    for tries_left in (2, 1, 0):
        try:
            ray.init(address="local" if address == "ray" else address, **options)
            return
        except Exception as error:  # Ray has no class of its own for it
            told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if address != "ray":
                raise ValueError(f"there is no Ray cluster at {address}: {told}") from None
            if not tries_left or "timed out" not in told:
                raise ValueError(f"no Ray cluster can be begun on this machine: {told}") from None
            ray.shutdown()  # it gives a node 30 seconds to begin, too few where a machine is busy


_KNOWN: dict[str, Subject] = {}


def _remote(boxed: list[Any], job: Job) -> Outcome:
    """One job in a process of the cluster, which keeps what it has unpacked and worked out for the next one."""
    import ray
    import torch

    torch.set_num_threads(1)
    name = boxed[0].hex()
    if name not in _KNOWN:
        _KNOWN.clear()
        _KNOWN[name] = ray.get(boxed[0])
    return run_job(_KNOWN[name], job)
