"""IntegerNet: a graph of integers and the calls that run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from bitspike.integer import file
from bitspike.integer.file import About, Contents
from bitspike.integer.graph import Graph
from bitspike.integer.recorded import Recorded
from bitspike.runtime.runner import Runner, make_runner
from bitspike.runtime.samples import checked, checked_step
from bitspike.runtime.state import State


@dataclass(frozen=True, eq=False)
class IntegerNet:
    """A finished network: what is evaluated, certified, saved and shipped. It is equal only to itself.

    graph   plain data, see `bitspike.integer.graph`
    notes   what lowering found worth saying (dead zones of slow leaks)
    about   where it comes from: provenance, results, certificate; empty for a network that was just lowered
    """

    graph: Graph
    notes: tuple[str, ...] = field(default=())
    about: About = field(default_factory=About)

    def __repr__(self) -> str:
        entry, last = self.graph.input, self.graph.readout
        return (
            f"IntegerNet({entry.kind} {list(entry.shape)}, {entry.time_steps} steps, "
            f"{len(self.graph.spiking)} spiking layers, {len(last.bias)} classes)"
        )

    def save(self, path: str | Path, *, about: About | None = None) -> None:
        """Write the network as a `.bsp` file, atomically, with what is known of it (by default its own `about`)."""
        file.save(path, Contents(self.graph, self.notes, about or self.about))

    @staticmethod
    def load(path: str | Path) -> IntegerNet:
        """The network of a `.bsp` file, checked; ValueError says in one sentence why a file is refused."""
        found = file.load(path)
        return IntegerNet(found.graph, found.notes, found.about)

    def on(self, build: str | None = None, *, kernel: str = "auto", threads: SupportsIndex | None = None) -> IntegerNet:
        """The same network, run as asked.

        build: "reference" (torch), or a build of the engine ("avx512", "avx512f", "avx2", "baseline", "neon"); None is
            the best.
        kernel: "auto", or "planes", "dense", "lanes" for every layer that can be computed so.
        threads: samples of a batch, or rows of a single sample, are split among so many (BITSPIKE_THREADS, else 1).
        """
        same = IntegerNet(self.graph, self.notes, self.about)
        same.__dict__["runner"] = make_runner(self.graph, build, kernel, threads)
        return same

    @cached_property
    def runner(self) -> Runner:
        """What runs it: the engine's best build, or the reference; made on first use."""
        return make_runner(self.graph)

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Integer logits [B, K] of uint8 images [B, C, H, W] or event counts [T, B, C, H, W].

        The class is the index of the largest, the lowest index at a tie: `predict(x).argmax(1)`.
        """
        return self.runner.predict(checked(self.graph, samples))

    def spikes(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.int32]]:
        """The values [T, B, ...] of every node, by name: pixels, spikes, counts, sums."""
        return self.runner.run(checked(self.graph, samples), membranes=False).values

    def step(self, samples: NDArray[np.uint8], state: State) -> NDArray[np.int64]:
        """One step, [B, C, H, W], of a stream; the logits so far. The state is updated in place.

        Get a state at rest from `state()`. Images may be given anew at each step or the same one T times.
        """
        logits: NDArray[np.int64] = self._step(samples, state, self.runner.step)
        return logits

    def watched_step(self, samples: NDArray[np.uint8], state: State) -> Recorded:
        """`step`, and every value and membrane [1, B, ...] it came to."""
        recorded: Recorded = self._step(samples, state, self.runner.run_step)
        return recorded

    def state(self) -> State:
        """A state at rest for `step`; it can be reset, copied and saved."""
        return State(self.graph)

    def load_state(self, path: str | Path) -> State:
        """The state that `State.save` wrote for this network."""
        return State.load(path, self.graph, self.runner)

    def _step(self, samples: NDArray[np.uint8], state: State, advance: Callable[..., Any]) -> Any:
        if not isinstance(state, State) or state.graph is not self.graph:
            raise ValueError("the state is not one of this network; get one from its state()")
        steps = self.graph.input.time_steps
        if steps is not None and state.steps >= steps:
            raise ValueError(f"this network answers after {steps} steps, which are done; begin a new state()")
        frame = checked_step(self.graph, samples)
        found = advance(frame, state.held_by(self.runner, len(frame)))
        state.steps += 1
        return found
