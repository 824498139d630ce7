"""The reference as a runner: the definition in `integer.ops`, on torch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from bitspike.integer import ops
from bitspike.integer.graph import Graph
from bitspike.integer.recorded import Recorded
from bitspike.integer.run import State, advance, frames
from bitspike.integer.shapes import shapes


class Reference:
    """Runs a graph on the defining operations. The same calls as `bitspike.engine.Engine`."""

    name = "reference (torch)"

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._layers = {node.name for node in graph.spiking}

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Logits [B, K] of checked samples."""
        entering = frames(self.graph, torch.from_numpy(samples))
        logits: NDArray[np.int64] = advance(self.graph, entering, State()).numpy()
        return logits

    def run(self, samples: NDArray[np.uint8], *, values: bool = True, membranes: bool = True) -> Recorded:
        """The same, watched; membranes after every step need all steps one by one."""
        entering = frames(self.graph, torch.from_numpy(samples))
        state = State()
        chunks = entering.split(1) if membranes else [entering]
        parts = [self._advance(chunk, state, values, membranes) for chunk in chunks]
        found = Recorded(parts[-1].logits)
        for name in parts[0].values:
            found.values[name] = np.concatenate([part.values[name] for part in parts])
        for name in parts[0].membranes:
            found.membranes[name] = np.concatenate([part.membranes[name] for part in parts])
        for name in self._layers:
            found.spike_counts[name] = sum(part.spike_counts[name] for part in parts)
        return found

    def state(self, batch: int) -> State:
        """A state at rest for so many samples."""
        resting = {name: torch.zeros((batch, *shapes(self.graph)[name]), dtype=torch.int32) for name in self._layers}
        state = State(self.graph, {name: ops.Membrane(potential) for name, potential in resting.items()})
        state.total = torch.from_numpy(self.graph.readout.bias).to(torch.int64).expand(batch, -1)
        return state

    def step(self, frame: NDArray[np.uint8], state: State) -> NDArray[np.int64]:
        """Feed one checked frame [B, C, H, W]; the logits so far [B, K]."""
        return self.run_step(frame, state, values=False, membranes=False).logits

    def run_step(
        self, frame: NDArray[np.uint8], state: State, *, values: bool = True, membranes: bool = True
    ) -> Recorded:
        """`step`, watched."""
        entering = ops.center(torch.from_numpy(frame), self.graph.input).unsqueeze(0)
        return self._advance(entering, state, values, membranes)

    def membranes(self, state: State) -> dict[str, NDArray[np.int32]]:
        """The stored membranes [B, ...] of every spiking layer."""
        return {node.name: state.membranes[node.name].potential.numpy().copy() for node in self.graph.spiking}

    def set_membranes(self, state: State, membranes: dict[str, NDArray[np.int32]]) -> None:
        """Write stored membranes into a state."""
        for name, potential in membranes.items():
            state.membranes[name].potential = torch.from_numpy(np.ascontiguousarray(potential, np.int32))

    def totals(self, state: State) -> tuple[NDArray[np.int64], int]:
        """The readout's running sums [B, K] without bias, and the number of steps done."""
        if state.total is None:
            raise ValueError("the state was not made by this runner's state()")
        sums: NDArray[np.int64] = state.total.numpy() - self.graph.readout.bias.astype(np.int64)
        return sums, state.steps

    def set_totals(self, state: State, sums: NDArray[np.int64], steps: int) -> None:
        """Write running sums and steps done into a state."""
        state.total = torch.from_numpy(sums + self.graph.readout.bias.astype(np.int64))
        state.steps = steps
        for membrane in state.membranes.values():
            membrane.steps = steps

    def _advance(self, entering: torch.Tensor, state: State, values: bool, membranes: bool) -> Recorded:
        found = Recorded(np.empty(0, np.int64))

        def note(name: str, value: torch.Tensor) -> None:
            if name in self._layers:
                found.spike_counts[name] = int(value.count_nonzero())
            if values:
                found.values[name] = value.numpy().astype(np.int32)

        found.logits = advance(self.graph, entering, state, note).numpy()
        if membranes:
            found.membranes = {name: held[None] for name, held in self.membranes(state).items()}
        return found
