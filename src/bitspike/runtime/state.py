"""What a stream of steps carries on: membranes of k bits, the readout's sums, the number of steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bitspike.atomic import atomic_write
from bitspike.engine.program import program
from bitspike.integer.graph import Graph, Spiking
from bitspike.integer.shapes import shapes
from bitspike.runtime.runner import Runner

_KIND = "bitspike state"
_CHECKSUM = "sha256"
_KEYS = {"network", "steps", "batch"}
_MOST_BATCH = 1 << 20
_MOST_STEPS = (1 << 31) - 1


class State:
    """One stream, or a batch that goes on together. It begins at rest; its first step says how many they are."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.steps = 0
        self.batch: int | None = None
        self._runner: Runner | None = None
        self._held: Any = None

    def __repr__(self) -> str:
        return f"State({self.steps} steps done, {self.batch or 'no'} samples, {packed_bytes(self.graph)} bytes each)"

    def reset(self) -> None:
        """Back to rest, before the first step."""
        self.__init__(self.graph)  # type: ignore[misc]

    def held_by(self, runner: Runner, batch: int) -> Any:
        """The state as a runner keeps it; brought over if another one kept it so far."""
        if self.batch not in (None, batch):
            raise ValueError(f"one step has {batch} samples; this state was begun with {self.batch}")
        if self._runner is not runner:
            self._runner, self._held, self.batch = runner, self._brought(runner, batch), batch
        return self._held

    def _brought(self, runner: Runner, batch: int) -> Any:
        """What is held, once more and as another runner keeps it; a state at rest before the first step."""
        held = runner.state(batch)
        if self._runner is not None:
            runner.set_membranes(held, self._runner.membranes(self._held))
            runner.set_totals(held, *self._runner.totals(self._held))
        return held

    def copy(self) -> State:
        """A stream of the same network that goes on from here by itself."""
        twin = State(self.graph)
        if self._runner is not None and self.batch is not None:
            held = self._brought(self._runner, self.batch)
            twin.steps, twin.batch, twin._runner, twin._held = self.steps, self.batch, self._runner, held
        return twin

    __copy__ = copy

    def __deepcopy__(self, _memo: object) -> State:
        return self.copy()  # the network is shared, or it would be another one

    def membranes(self) -> dict[str, NDArray[np.int32]]:
        """Stored membranes [B, ...] of the spiking layers; none before the first step."""
        return {} if self._runner is None else self._runner.membranes(self._held)

    def save(self, path: str | Path) -> None:
        """Write the state to a file with a checksum, every membrane in as many bits as it has."""
        if self._runner is None:
            raise ValueError("this state has not seen a step; there is nothing to save")
        sums, _ = self._runner.totals(self._held)
        tensors: dict[str, NDArray[Any]] = {"total": sums}
        membranes = self._runner.membranes(self._held)
        for node in self.graph.spiking:
            tensors[f"membrane/{node.name}"] = _packed(membranes[node.name], _bits(node))
        header = {"network": fingerprint(self.graph), "steps": self.steps, "batch": self.batch}
        signed = {**header, _CHECKSUM: _digest(header, tensors)}
        atomic_write(path, save(tensors, metadata={_KIND: json.dumps(signed)}))

    @staticmethod
    def load(path: str | Path, graph: Graph, runner: Runner) -> State:
        """The state that `save` wrote, of the same network."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"there is no file {path}")
        try:
            with safe_open(str(path), framework="numpy") as opened:
                text = (opened.metadata() or {})[_KIND]
                header = json.loads(text)
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            network, batch, steps = header["network"], header["batch"], header["steps"]
        except KeyError as error:
            raise ValueError(f"{path} is not a state that bitspike saved: it has no {error}") from None
        except (SafetensorError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not a state that bitspike saved: {error}") from None
        if network != fingerprint(graph):
            raise ValueError(f"{path} holds a state of another network")
        try:
            _refuse_damage(text, header, tensors)
            return _restored(graph, runner, batch, steps, tensors)
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from None


def _digest(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> str:
    """Sha256 over the header without its checksum, and name, type, shape and bytes of every array."""
    found = sha256(json.dumps(header, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        found.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
        found.update(np.ascontiguousarray(values).tobytes())
    return found.hexdigest()


def _refuse_damage(text: str, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raise if the checksum does not hold; files written before there was one have none."""
    plain = {key: value for key, value in header.items() if key != _CHECKSUM}
    if plain.keys() != _KEYS:
        raise ValueError(f"its header does not hold exactly {', '.join(sorted(_KEYS))} and a checksum")
    # The text too: JSON has more than one spelling of the same value.
    if _CHECKSUM in header and (header[_CHECKSUM] != _digest(plain, tensors) or text != json.dumps(header)):
        raise ValueError("its checksum does not hold; copy it again, or save the state anew")


def fingerprint(graph: Graph) -> str:
    """The network's identity: sha256 over every integer that is computed with."""
    return sha256(program(graph)).hexdigest()


def packed_bytes(graph: Graph) -> int:
    """Bytes of all membranes of one sample, k bits each."""
    sizes = shapes(graph)
    return sum(_bits(node) * ((int(np.prod(sizes[node.name])) + 7) // 8) for node in graph.spiking)


def _bits(node: Spiking) -> int:
    return node.fire.levels.bit_length() + 1


def _packed(values: NDArray[np.int32], bits: int) -> NDArray[np.uint8]:
    """Two's complement, bit by bit: uint8 [bits, ceil(n / 8)]."""
    flat = values.reshape(-1)
    return np.stack([np.packbits((flat >> k) & 1, bitorder="little") for k in range(bits)])


def _unpacked(planes: NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> NDArray[np.int32]:
    size = int(np.prod(shape))
    if planes.dtype != np.uint8 or planes.shape != (bits, (size + 7) // 8):
        raise ValueError(
            f"a membrane is packed in {planes.dtype} {list(planes.shape)}; expected: {bits} planes of {size} bits"
        )
    raw = np.zeros(size, np.int32)
    for k, plane in enumerate(planes):
        raw |= np.unpackbits(plane, count=size, bitorder="little").astype(np.int32) << k
    return (raw - ((raw >> (bits - 1)) << bits)).reshape(shape)


def _restored(graph: Graph, runner: Runner, batch: Any, steps: Any, tensors: dict[str, NDArray[Any]]) -> State:
    most = graph.input.time_steps or _MOST_STEPS
    for what, number, low, high in (("samples", batch, 0, _MOST_BATCH), ("steps done", steps, 1, most)):
        if type(number) is not int or not low <= number <= high:
            raise ValueError(f"the number of {what} is {number!r}; allowed: {low} to {high}")
    expected = {"total", *(f"membrane/{node.name}" for node in graph.spiking)}
    if tensors.keys() != expected:
        raise ValueError(f"it does not hold exactly the arrays {', '.join(sorted(expected))}")
    sizes = shapes(graph)
    membranes = {}
    for node in graph.spiking:
        values = _unpacked(tensors[f"membrane/{node.name}"], _bits(node), (batch, *sizes[node.name]))
        if int(np.abs(values).max(initial=0)) > node.fire.levels:
            raise ValueError(f"a membrane of {node.name} is beyond its {node.fire.levels} levels")
        membranes[node.name] = values
    total = tensors["total"]
    if total.dtype != np.int64 or total.shape != (batch, len(graph.readout.bias)):
        raise ValueError(f"the readout's sums are {total.dtype} {list(total.shape)}")
    state = State(graph)
    held = state.held_by(runner, batch)
    runner.set_membranes(held, membranes)
    runner.set_totals(held, total, steps)
    state.steps = steps
    return state
