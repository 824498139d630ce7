"""What runs a network: the native engine where one was built, the reference on torch elsewhere."""

from __future__ import annotations

import os
import warnings
from typing import Any, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from bitspike.engine import Engine, UnusableLibrary, UnusableNetwork, builds
from bitspike.engine.library import MOST_THREADS, check_kernel, thread_count
from bitspike.integer.check import check
from bitspike.integer.graph import Graph
from bitspike.integer.recorded import Recorded

REFERENCE = "reference"


class Runner(Protocol):
    """Both take samples that have been checked; a state is whatever the runner's own `state` gave."""

    graph: Graph

    @property
    def name(self) -> str:
        """What it is, in a few words."""

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Logits [B, K]."""

    def run(self, samples: NDArray[np.uint8], *, values: bool = True, membranes: bool = True) -> Recorded:
        """The same, watched."""

    def state(self, batch: int) -> Any:
        """A state at rest."""

    def step(self, frame: NDArray[np.uint8], state: Any) -> NDArray[np.int64]:
        """One step; logits so far [B, K]."""

    def run_step(
        self, frame: NDArray[np.uint8], state: Any, *, values: bool = True, membranes: bool = True
    ) -> Recorded:
        """The same, watched."""

    def membranes(self, state: Any) -> dict[str, NDArray[np.int32]]:
        """Stored membranes [B, ...] of the spiking layers."""

    def set_membranes(self, state: Any, membranes: dict[str, NDArray[np.int32]]) -> None:
        """Write them."""

    def totals(self, state: Any) -> tuple[NDArray[np.int64], int]:
        """The readout's running sums [B, K] without bias, and steps done."""

    def set_totals(self, state: Any, sums: NDArray[np.int64], steps: int) -> None:
        """Write them."""


def make_runner(
    graph: Graph, build: str | None = None, kernel: str = "auto", threads: SupportsIndex | None = None
) -> Runner:
    """The runner asked for; without a build what BITSPIKE_ENGINE names, else the best that can run this network."""
    check_kernel(kernel)
    count = _threads(threads)
    wanted = build or os.environ.get("BITSPIKE_ENGINE") or None
    if wanted == REFERENCE:
        return _reference(graph)
    if wanted is not None:
        return Engine(graph, build=wanted, kernel=kernel, threads=count)
    try:
        if builds():
            return Engine(graph, kernel=kernel, threads=count)
    except (UnusableLibrary, UnusableNetwork, MemoryError) as error:
        if isinstance(error, UnusableNetwork):
            check(graph)  # the reference believes a graph, and would compute nonsense with a wrong one
        warnings.warn(f"{error}; the reference takes its place", RuntimeWarning, stacklevel=3)
    return _reference(graph)


def _threads(given: SupportsIndex | None) -> int:
    if given is not None:
        return thread_count(given)
    text = os.environ.get("BITSPIKE_THREADS") or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
        raise ValueError(f"BITSPIKE_THREADS is {text!r}; allowed: 1 to {MOST_THREADS}")
    return int(text)


def _reference(graph: Graph) -> Runner:
    try:
        from bitspike.runtime.reference import Reference
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "nothing here can run a network: no engine was built, and torch, on which the reference runs, is missing; "
            "install a C compiler and bitspike again, or torch: pip install 'bitspike[train]'",
            name="torch",
        ) from None
    return Reference(graph)
