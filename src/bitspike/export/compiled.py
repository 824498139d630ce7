"""The exported C, compiled for this machine and called in this process: for comparing and certifying."""

from __future__ import annotations

import ctypes
import tempfile
import threading
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitspike.export.layout import Layer, Map, Plan
from bitspike.export.plan import make_plan
from bitspike.export.source import model_header, model_source
from bitspike.export.toolchain import SOURCES, STRICT, compile_c, find_compiler
from bitspike.integer.graph import Graph

_NAME = "network"
# What is not written must not look like an earlier, equal run's result that lay in the memory.
_UNWRITTEN = np.iinfo(np.int32).min
# Only one run at a time: the recording C code keeps its place in static variables of its library.
_Pointers = ctypes.POINTER(ctypes.c_void_p)


class HasGraph(Protocol):
    """What is exported: an IntegerNet, or anything else that has a graph."""

    @property
    def graph(self) -> Graph:
        """The network as plain data."""
        ...


@dataclass
class Record:
    """What a run left: int64 logits [B, K], and by node int32 [T, B, ...]; each step's logits [T, B, K]."""

    logits: NDArray[np.int64]
    steps: NDArray[np.int32]
    values: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    membranes: dict[str, NDArray[np.int32]] = field(default_factory=dict)


class CompiledNet:
    """A network's C export as a shared library.

    compiler: a name or path, by default the first of cc, gcc, clang. reuse_input: the sums of a static input are kept.
    FileNotFoundError where there is no compiler, RuntimeError where it fails. Nothing stays on disk.
    """

    def __init__(
        self, net: HasGraph, compiler: str | None = None, *, reuse_input: bool = False, optimize: str = "-O2"
    ) -> None:
        self.plan = make_plan(net.graph)
        self.compiler = find_compiler(compiler)
        self.reuse_input = reuse_input
        words = self.plan.arena_words_reuse if reuse_input else self.plan.arena_words
        self._arena = np.zeros(words, np.uint32)
        self._lock = threading.Lock()
        with tempfile.TemporaryDirectory(prefix="bitspike-") as folder:
            self._library = _build(self.plan, Path(folder), self.compiler, reuse_input, optimize)
        self._net = ctypes.addressof(ctypes.c_char.in_dll(self._library, f"{_NAME}_net"))
        self._run = self._library.bitspike_run_samples
        self._run.restype = None
        self._run.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_uint32,
            ctypes.c_size_t,
            ctypes.c_size_t,
            ctypes.c_void_p,
            _Pointers,
            _Pointers,
            _Pointers,
            _Pointers,
        ]

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Integer logits [B, K] of uint8 images [B, C, H, W] or event counts [T, B, C, H, W]."""
        return self.run(samples, record=False).logits

    def run(self, samples: NDArray[np.uint8], *, record: bool = True) -> Record:
        """All steps of all samples; with record, every membrane, and the values of all nodes but the input.

        A Flatten of the input is left out too: neither is computed.
        """
        frames, steps, batch = self._frames(samples)
        nodes = self.plan.steps
        values: list[NDArray[np.int32] | None] = [None] * len(nodes)
        membranes: list[NDArray[np.int32] | None] = [None] * len(nodes)
        if record:
            for number, step in enumerate(nodes):
                if step.makes is not None:
                    made = self.plan.maps[step.makes]
                    shape = (steps, batch, made.places, made.channels)
                    values[number] = np.full(shape, _UNWRITTEN, np.int32)
                    if isinstance(step.what, Layer):
                        membranes[number] = np.full(shape, _UNWRITTEN, np.int32)
        classes = len(self.plan.graph.readout.bias)
        logits = np.full((steps, batch, classes), _UNWRITTEN, np.int32)
        frame_bytes = frames[0].nbytes // max(batch, 1) if self._takes_events else frames.nbytes // max(batch, 1)
        with self._lock:
            self._run(
                self._net,
                self._arena.ctypes.data,
                frames.ctypes.data,
                batch,
                steps,
                frame_bytes,
                frame_bytes * batch if self._takes_events else 0,
                logits.ctypes.data,
                _pointers(values) if record else None,
                _pointers(membranes) if record else None,
                _pointers([None] * len(nodes)),
                _pointers([None] * len(nodes)),
            )
        found = Record(logits[-1].astype(np.int64), logits)
        if record:
            self._fill(found, values, membranes)
        return found

    @property
    def _takes_events(self) -> bool:
        return self.plan.graph.input.kind == "events"

    def _frames(self, samples: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, int]:
        array = np.asarray(samples)
        node = self.plan.graph.input
        axes = 2 if self._takes_events else 1
        layout = f"{'[T, B, C, H, W]' if axes == 2 else '[B, C, H, W]'} with [C, H, W] = {list(node.shape)}"
        if array.dtype != np.uint8:
            raise TypeError(f"the input has dtype {array.dtype}; the network takes uint8 {layout}")
        if array.ndim != axes + 3 or array.shape[axes:] != node.shape:
            raise ValueError(f"the input has shape {list(array.shape)}; the network takes {layout}")
        steps = array.shape[0] if axes == 2 else node.time_steps or 1
        if steps == 0 or (node.time_steps is not None and steps != node.time_steps):
            raise ValueError(f"the input has {steps} time steps; the network takes {node.time_steps or 'at least one'}")
        if array.size and int(array.max()) > node.bound:
            raise ValueError(f"the input holds counts up to {int(array.max())}; the network takes at most {node.bound}")
        return np.ascontiguousarray(array), steps, array.shape[axes - 1]

    def _fill(
        self, record: Record, values: list[NDArray[np.int32] | None], membranes: list[NDArray[np.int32] | None]
    ) -> None:
        """What was recorded, place by place, as the reference has it: channels first."""
        plan, readout, logits = self.plan, self.plan.graph.readout, record.steps
        by_map: dict[int, NDArray[np.int32]] = {}
        for step, value, membrane in zip(plan.steps, values, membranes, strict=True):
            if step.makes is not None and value is not None:
                made = plan.maps[step.makes]
                dense = isinstance(step.what, Layer) and step.what.is_dense
                by_map[step.makes] = _channels_first(value, made)
                if membrane is not None:
                    ordered = _channels_first(membrane, made)
                    record.membranes[step.name] = ordered[..., 0, 0] if dense else ordered
        for name, place in plan.values.items():
            if place.map in by_map:
                value = by_map[place.map]
                record.values[name] = value.reshape(*value.shape[:2], -1) if place.flat else value
        before = np.concatenate([np.broadcast_to(readout.bias, logits[:1].shape), logits[:-1]])
        record.values[readout.name] = (logits - before).astype(np.int32)


def _channels_first(value: NDArray[np.int32], made: Map) -> NDArray[np.int32]:
    """[T, B, places, C] to [T, B, C, H, W]."""
    shaped = value.reshape(*value.shape[:2], made.height, made.width, made.channels)
    return np.moveaxis(shaped, 4, 2)


def _pointers(arrays: list[NDArray[np.int32] | None]) -> Any:
    kind = ctypes.c_void_p * len(arrays)
    return ctypes.cast(kind(*(None if each is None else each.ctypes.data for each in arrays)), _Pointers)


def _build(plan: Plan, folder: Path, compiler: str, reuse_input: bool, optimize: str) -> ctypes.CDLL:
    text, _ = model_source(plan, _NAME)
    (folder / f"{_NAME}.c").write_text(text, encoding="ascii")
    (folder / f"{_NAME}.h").write_text(model_header(plan, _NAME), encoding="ascii")
    flags = (*STRICT, "-fPIC", f"-I{SOURCES}", f"-DBITSPIKE_REUSE_INPUT={int(reuse_input)}")
    library = folder / f"{_NAME}.so"
    core = _core(compiler, reuse_input, optimize)
    compile_c(compiler, [*flags, "-O0", "-shared", f"-I{folder}", folder / f"{_NAME}.c", *core, "-o", library])
    return ctypes.CDLL(str(library))


@cache
def _objects_folder() -> tempfile.TemporaryDirectory[str]:
    """Lives, and keeps the core's objects, as long as the process."""
    return tempfile.TemporaryDirectory(prefix="bitspike-core-")


@cache
def _core(compiler: str, reuse_input: bool, optimize: str) -> tuple[Path, ...]:
    """The objects that are the same for all networks, compiled once a process."""
    made = []
    for name in ("bitspike_core", "bitspike_sum", "watch"):
        place = Path(tempfile.mkdtemp(dir=_objects_folder().name)) / f"{name}.o"
        flags = (*STRICT, optimize, "-fPIC", "-DBITSPIKE_WATCH=1", f"-DBITSPIKE_REUSE_INPUT={int(reuse_input)}")
        compile_c(compiler, [*flags, "-c", SOURCES / f"{name}.c", "-o", place])
        made.append(place)
    return tuple(made)
