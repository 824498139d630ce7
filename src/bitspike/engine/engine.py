"""One network in the native engine: predictions layer by layer, streams step by step."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from ctypes import c_void_p
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from bitspike.engine.library import (
    KERNELS,
    Record,
    UnusableNetwork,
    build_number,
    builds,
    check_kernel,
    loaded_library,
    thread_count,
)
from bitspike.engine.program import program
from bitspike.integer.graph import Graph, Spiking
from bitspike.integer.recorded import Recorded
from bitspike.integer.shapes import shapes

_MESSAGE = 512
_MOST_KEPT = 4
"""Numbers of time steps for which sessions are kept: streams of events may have another number at every call."""


class Engine:
    """A graph, ready to run natively. Any number of threads may call it at once; each call has a session of its own.

    build: "avx512", "avx512f", "avx2", "neon", "baseline"; None: the best that runs here.
    kernel: "auto", or "planes", "dense", "lanes" for every layer that can be computed so.
    threads: samples of a batch, or rows of a single sample, are split among so many.
    """

    def __init__(
        self, graph: Graph, *, build: str | None = None, kernel: str = "auto", threads: SupportsIndex = 1
    ) -> None:
        check_kernel(kernel)
        self.threads = thread_count(threads)
        number = build_number(build)
        self.graph, self.kernel = graph, kernel
        self.build = build or builds()[0]
        self._library = loaded_library()
        self._net = _Handle(self._library.bs_net_free, self._new_net(program(graph), number))
        self._state_bytes = int(self._library.bs_state_bytes(self._net.pointer))
        self._classes = len(graph.readout.bias)
        self._spiking = tuple((number, node) for number, node in enumerate(graph.nodes) if isinstance(node, Spiking))
        self._idle: dict[int, list[_Handle]] = {}
        self._lock = threading.Lock()
        _engines.add(self)

    @property
    def name(self) -> str:
        """What runs here, in a few words."""
        return f"engine ({self.build})"

    def __deepcopy__(self, _memo: object) -> Engine:
        return self  # read-only, and shared by threads anyway

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self.graph, self.build, self.kernel, self.threads)

    def __repr__(self) -> str:
        return f"Engine({self.build}, kernel={self.kernel}, threads={self.threads}, {self.table_bytes} bytes of tables)"

    @property
    def table_bytes(self) -> int:
        """Bytes that weights and constants take in the engine."""
        return int(self._library.bs_net_bytes(self._net.pointer))

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Logits [B, K] of checked samples: uint8 [B, C, H, W] of images, [T, B, C, H, W] of events."""
        steps, batch = self._extent(samples)
        logits = np.empty((batch, self._classes), np.int64)
        session = self._take(steps)
        try:
            self._library.bs_predict(session.pointer, _address(samples), batch, _address(logits), None)
        finally:
            self._put_back(steps, session)
        return logits

    def run(self, samples: NDArray[np.uint8], *, values: bool = True, membranes: bool = True) -> Recorded:
        """The same, watched: every value and membrane, and the number of spikes per layer."""
        steps, batch = self._extent(samples)
        watch = _Watch(self, steps, batch, values, membranes)
        session = self._take(steps)
        try:
            self._library.bs_predict(
                session.pointer, _address(samples), batch, _address(watch.logits), ctypes.byref(watch.record)
            )
        finally:
            self._put_back(steps, session)
        return watch.recorded()

    def state(self, batch: int) -> NDArray[np.uint8]:
        """Room for the states of a batch, at rest; memory of the engine's own layout, k bits a membrane."""
        return np.zeros((batch, self._state_bytes), np.uint8)

    def step(self, frame: NDArray[np.uint8], states: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Feed one checked frame [B, C, H, W]; the logits so far [B, K]. The states are updated in place."""
        logits = np.empty((len(frame), self._classes), np.int64)
        session = self._take(1)
        try:
            self._library.bs_step(
                session.pointer, _address(frame), len(frame), _address(states), _address(logits), None
            )
        finally:
            self._put_back(1, session)
        return logits

    def run_step(
        self, frame: NDArray[np.uint8], states: NDArray[np.uint8], *, values: bool = True, membranes: bool = True
    ) -> Recorded:
        """`step`, watched."""
        watch = _Watch(self, 1, len(frame), values, membranes)
        session = self._take(1)
        try:
            self._library.bs_step(
                session.pointer,
                _address(frame),
                len(frame),
                _address(states),
                _address(watch.logits),
                ctypes.byref(watch.record),
            )
        finally:
            self._put_back(1, session)
        return watch.recorded()

    def membranes(self, states: NDArray[np.uint8]) -> dict[str, NDArray[np.int32]]:
        """The stored membranes [B, ...] of every spiking layer."""
        found = {}
        for number, node in self._spiking:
            values = _blank((len(states), *shapes(self.graph)[node.name]))
            for one, state in zip(values, states, strict=True):
                self._library.bs_state_membrane(self._net.pointer, _address(state), number, _address(one), 0)
            found[node.name] = values
        return found

    def set_membranes(self, states: NDArray[np.uint8], membranes: dict[str, NDArray[np.int32]]) -> None:
        """Write stored membranes into states."""
        for number, node in self._spiking:
            values = np.ascontiguousarray(membranes[node.name], np.int32)
            for one, state in zip(values, states, strict=True):
                self._library.bs_state_membrane(self._net.pointer, _address(state), number, _address(one), 1)

    def totals(self, states: NDArray[np.uint8]) -> tuple[NDArray[np.int64], int]:
        """The readout's running sums [B, K] without bias, and the number of steps done."""
        sums = np.empty((len(states), self._classes), np.int64)
        steps = ctypes.c_int64(0)
        pointer = ctypes.POINTER(ctypes.c_int64)
        for one, state in zip(sums, states, strict=True):
            self._library.bs_state_total(
                self._net.pointer, _address(state), one.ctypes.data_as(pointer), ctypes.byref(steps), 0
            )
        return sums, int(steps.value)

    def set_totals(self, states: NDArray[np.uint8], sums: NDArray[np.int64], steps: int) -> None:
        """Write running sums and steps done into states."""
        held = ctypes.c_int64(steps)
        pointer = ctypes.POINTER(ctypes.c_int64)
        for one, state in zip(np.ascontiguousarray(sums, np.int64), states, strict=True):
            where = one.ctypes.data_as(pointer)
            self._library.bs_state_total(self._net.pointer, _address(state), where, ctypes.byref(held), 1)

    def profile(self, samples: NDArray[np.uint8], repeats: int = 10) -> dict[str, float]:
        """Seconds of CPU time per node and call, in one thread's own clock; the first call warms up unmeasured."""
        steps, batch = self._extent(samples)
        logits = np.empty((batch, self._classes), np.int64)
        session = self._new_session(steps)
        arguments = (session.pointer, _address(samples), batch, _address(logits), None)
        self._library.bs_predict(*arguments)
        self._library.bs_session_profile(session.pointer)
        for _ in range(repeats):
            self._library.bs_predict(*arguments)
        times = np.zeros(len(self.graph.nodes), np.int64)
        self._library.bs_session_times(session.pointer, _address(times))
        return {
            node.name: float(time) / 1e9 / repeats for node, time in zip(self.graph.nodes, times.tolist(), strict=True)
        }

    def _extent(self, samples: NDArray[np.uint8]) -> tuple[int, int]:
        if self.graph.input.kind == "events":
            return samples.shape[0], samples.shape[1]
        return self.graph.input.time_steps or 1, samples.shape[0]

    def _new_net(self, flat: bytes, number: int) -> int:
        message = ctypes.create_string_buffer(_MESSAGE)
        kernel = KERNELS.index(self.kernel)
        net = self._library.bs_net_new(flat, len(flat), number, kernel, message, _MESSAGE)
        if not net:
            raise UnusableNetwork(f"the engine refuses this network: {self._named(message.value.decode())}")
        return int(net)

    def _named(self, message: str) -> str:
        """The engine counts nodes; people know their names."""
        head, colon, rest = message.partition(":")
        number = head.removeprefix("node ")
        if head != number and number.isdigit() and int(number) < len(self.graph.nodes):
            return f"{self.graph.nodes[int(number)].name}{colon}{rest}"
        return message

    def _take(self, steps: int) -> _Handle:
        """A session for so many steps that nobody uses."""
        with self._lock:
            waiting = self._idle.get(steps)
            if waiting:
                return waiting.pop()
        return self._new_session(steps)

    def _put_back(self, steps: int, session: _Handle) -> None:
        with self._lock:
            self._idle[steps] = [*self._idle.pop(steps, []), session]  # now the last one used
            let_go = self._idle.pop(next(iter(self._idle))) if len(self._idle) > _MOST_KEPT else []
        let_go.clear()  # freed outside of the lock, since that waits for threads to end

    def _forked(self) -> None:
        """In a child process: the threads of sessions stayed with the parent, and so may have the lock's owner."""
        self._lock = threading.Lock()
        for session in (one for waiting in self._idle.values() for one in waiting):
            session.abandon()
        self._idle = {}

    def _new_session(self, steps: int) -> _Handle:
        message = ctypes.create_string_buffer(_MESSAGE)
        session = self._library.bs_session_new(self._net.pointer, steps, self.threads, message, _MESSAGE)
        if not session:
            raise MemoryError(f"the engine cannot run this network: {message.value.decode()}")
        return _Handle(self._library.bs_session_free, int(session), self._net)


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in list(_engines):
        engine._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _rebuilt(graph: Graph, build: str, kernel: str, threads: int) -> Engine:
    """The same engine in another process, with its best build where this one does not run."""
    return Engine(graph, build=build if build in builds() else None, kernel=kernel, threads=threads)


def _address(array: NDArray[Any]) -> int:
    """Where an array lies; `array.ctypes.data` says the same five times slower."""
    address: int = array.__array_interface__["data"][0]
    return address


class _Handle:
    """A pointer into the library, freed with its owner, and whatever must outlive it."""

    def __init__(self, free: Any, pointer: int, needs: object = None) -> None:
        self.pointer = pointer
        self._needs = needs
        self._free = weakref.finalize(self, _free, free, pointer, needs)
        self._free.atexit = False  # a thread may be at work to the end; memory goes with the process

    def abandon(self) -> None:
        """Forget the pointer without freeing it."""
        self._free.detach()


def _free(free: Any, pointer: int, _needs: object) -> None:
    free(pointer)


def _blank(shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Room for results; whatever is not written must not look like an earlier, equal run's that lay in the memory."""
    return np.full(shape, np.iinfo(np.int32).min, np.int32)


class _Watch:
    """Arrays for a run to write into."""

    def __init__(self, engine: Engine, steps: int, batch: int, values: bool, membranes: bool) -> None:
        nodes = engine.graph.nodes
        self.engine = engine
        sizes = shapes(engine.graph)
        self.logits = np.empty((batch, engine._classes), np.int64)
        layers = {node.name for _, node in engine._spiking}
        self.values = {node.name: _blank((steps, batch, *sizes[node.name])) for node in nodes if values}
        self.membranes = {name: _blank((steps, batch, *sizes[name])) for name in sizes if membranes and name in layers}
        self.spikes = np.zeros(len(nodes), np.int64)
        self._tables = [(c_void_p * len(nodes))(*self._pointers(part)) for part in (self.values, self.membranes)]
        self.record = Record(*self._tables, _address(self.spikes))

    def _pointers(self, arrays: dict[str, NDArray[np.int32]]) -> list[int | None]:
        return [arrays[node.name].ctypes.data if node.name in arrays else None for node in self.engine.graph.nodes]

    def recorded(self) -> Recorded:
        counts = {node.name: int(self.spikes[number]) for number, node in self.engine._spiking}
        return Recorded(self.logits, self.values, self.membranes, counts)
