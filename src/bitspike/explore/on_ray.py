"""Candidates as tasks of a Ray cluster, its nodes told what all share once; a node that is lost costs only time."""

from __future__ import annotations

import os
from typing import Any

from bitspike.explore.evaluate import Setting
from bitspike.explore.executor import RETRIES, Job, Outcome, run_job
from bitspike.explore.store import FAILED


class RayCluster:
    """Evaluates on a cluster: "ray" begins one on this machine, "ray://HOST:PORT" or "auto" joins one."""

    def __init__(self, setting: Setting, address: str = "ray", workers: int | None = None) -> None:
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
        self.slots = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self._setting = ray.put(setting)
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_remote)
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        """Begin a job, wherever there is room."""
        self._running[self._task.remote(self._setting, job)] = job

    def finished(self, timeout: float) -> list[Outcome]:
        """What has ended."""
        done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout) if self._running else ([], [])
        outcomes = []
        for reference in done:
            job = self._running.pop(reference)
            try:
                outcomes.append(self._ray.get(reference))
            except self._ray.exceptions.RayError as error:
                told = f"it was lost {RETRIES + 1} times on the cluster: {type(error).__name__}"
                outcomes.append(Outcome(job.number, FAILED, {"choices": dict(job.choices), "error": told}))
        return outcomes

    def close(self) -> None:
        """Stop what runs, and the cluster if it was begun here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    quiet = {"log_to_driver": False, "logging_level": "error", "configure_logging": True}
    try:
        if address == "ray":
            ray.init(num_cpus=workers or os.cpu_count(), include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError) as error:
        told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"there is no Ray cluster at {address}: {told}") from None


def _remote(setting: Setting, job: Job) -> Outcome:
    import torch

    torch.set_num_threads(1)
    return run_job(setting, job)
