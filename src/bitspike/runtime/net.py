"""IntegerNet: a graph of integers and the calls that run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Graph

if TYPE_CHECKING:
    from bitspike.integer.run import State, Watch


@dataclass(frozen=True)
class IntegerNet:
    """A finished network: what is evaluated, certified, saved and shipped.

    graph   plain data, see `bitspike.integer.graph`
    notes   what lowering found worth saying (dead zones of slow leaks)
    """

    graph: Graph
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        entry, last = self.graph.input, self.graph.readout
        return (
            f"IntegerNet({entry.kind} {list(entry.shape)}, {entry.time_steps} steps, "
            f"{len(self.graph.spiking)} spiking layers, {len(last.bias)} classes)"
        )

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Integer logits [B, K] of uint8 images [B, C, H, W] or event counts [T, B, C, H, W].

        The class is the index of the largest, the lowest index at a tie: `predict(x).argmax(1)`.
        """
        return self._run(samples, None)

    def spikes(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.int32]]:
        """The values [T, B, ...] of every node, by name: spikes, counts, sums."""
        record: dict[str, NDArray[np.int32]] = {}
        self._run(samples, lambda name, value: record.update({name: value.numpy()}))
        return record

    def step(self, samples: NDArray[np.uint8], state: State) -> NDArray[np.int64]:
        """One step, [B, C, H, W], of a stream; the logits so far. The state is updated in place.

        Get a state at rest from `state()`. Images may be given anew at each step or the same one T times.
        """
        _require_torch()
        from bitspike.integer import ops, run

        if not isinstance(state, run.State) or state.graph is not self.graph:
            raise ValueError("the state is not one of this network; get one from its state()")
        steps = self.graph.input.time_steps
        if steps is not None and state.steps >= steps:
            raise ValueError(f"this network answers after {steps} steps, which are done; begin a new state()")
        checked = self._check(samples, batch_axes=1, what="one step")
        if state.total is not None and len(state.total) != len(checked):
            raise ValueError(f"one step has {len(checked)} samples; this state was begun with {len(state.total)}")
        frame = ops.center(checked, self.graph.input).unsqueeze(0)
        logits: NDArray[np.int64] = run.advance(self.graph, frame, state).numpy()
        return logits

    def state(self) -> State:
        """A state at rest for `step`."""
        _require_torch()
        from bitspike.integer.run import State

        return State(self.graph)

    def _run(self, samples: NDArray[np.uint8], watch: Watch | None) -> NDArray[np.int64]:
        _require_torch()
        from bitspike.integer import run

        events = self.graph.input.kind == "events"
        checked = self._check(samples, batch_axes=2 if events else 1, what="the input")
        frames = run.frames(self.graph, checked)
        logits: NDArray[np.int64] = run.advance(self.graph, frames, run.State(), watch).numpy()
        return logits

    def _check(self, samples: NDArray[np.uint8], *, batch_axes: int, what: str) -> Any:
        import torch

        array = np.asarray(samples)
        node = self.graph.input
        layout = "[T, B, C, H, W]" if batch_axes == 2 else "[B, C, H, W]"
        if array.dtype != np.uint8:
            raise TypeError(f"{what} has dtype {array.dtype}; the network takes uint8 {layout}")
        if array.ndim != batch_axes + len(node.shape) or array.shape[batch_axes:] != node.shape:
            raise ValueError(
                f"{what} has shape {list(array.shape)}; the network takes {layout} with [C, H, W] = {list(node.shape)}"
            )
        if batch_axes == 2 and array.shape[0] == 0:
            raise ValueError(f"{what} has no time steps; the network takes at least one")
        if batch_axes == 2 and node.time_steps is not None and array.shape[0] != node.time_steps:
            raise ValueError(f"{what} has {array.shape[0]} time steps; the network takes {node.time_steps}")
        if node.bound < 255 and array.size and int(array.max()) > node.bound:
            raise ValueError(f"{what} holds counts up to {int(array.max())}; the network takes at most {node.bound}")
        return torch.from_numpy(np.require(array, requirements=["C", "W"]))  # read-only memory is copied


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "this installation has no engine that can run a network; install torch: pip install 'bitspike[train]'"
        ) from None
