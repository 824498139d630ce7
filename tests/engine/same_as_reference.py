"""What a comparison of the engine with the reference looks at: everything, in both orders of execution."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bitspike.engine import KERNELS, Engine, builds
from bitspike.integer.graph import Graph
from bitspike.integer.recorded import Recorded
from bitspike.runtime.reference import Reference
from bitspike.runtime.samples import checked


def every_setting(graph: Graph, choice: int) -> Iterator[Engine]:
    """Every build with every kernel in one thread, and with two or three threads as the choice says."""
    for build in builds():
        for kernel in KERNELS:
            yield Engine(graph, build=build, kernel=kernel)
            if (choice := choice + 1) % 4 == 0:
                yield Engine(graph, build=build, kernel=kernel, threads=2 + choice // 4 % 2)


def compare(graph: Graph, engines: Iterator[Engine], samples: NDArray[np.uint8]) -> None:
    """Raise AssertionError, naming setting, order and node, at the first number in which an engine differs."""
    samples = checked(graph, samples)
    expected = Reference(graph).run(samples)
    for engine in engines:
        _layers(engine, samples, expected)
        _steps(engine, samples, expected)


def _layers(engine: Engine, samples: NDArray[np.uint8], expected: Recorded) -> None:
    found = engine.run(samples)
    for kind, ours, theirs in (
        ("value", found.values, expected.values),
        ("membrane", found.membranes, expected.membranes),
    ):
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            _equal(engine, f"{kind} of {name}", ours[name], array)
    assert found.spike_counts == expected.spike_counts, f"{engine}: spike counts"
    _equal(engine, "watched logits", found.logits, expected.logits)
    for _ in range(2):  # memory that the first call leaves behind must not show in the second
        _equal(engine, "logits", engine.predict(samples), expected.logits)


def _steps(engine: Engine, samples: NDArray[np.uint8], expected: Recorded) -> None:
    events = engine.graph.input.kind == "events"
    steps = samples.shape[0] if events else engine.graph.input.time_steps or 1
    batch = len(expected.logits)
    plain, watched = engine.state(batch), engine.state(batch)
    for t in range(steps):
        frame = np.ascontiguousarray(samples[t]) if events else samples
        logits = engine.step(frame, plain)
        found = engine.run_step(frame, watched)
        _equal(engine, f"logits of step {t}, watched", logits, found.logits)
        for name, array in expected.values.items():
            _equal(engine, f"value of {name} in step {t}", found.values[name][0], array[t])
        held = engine.membranes(plain)
        for name, array in expected.membranes.items():
            _equal(engine, f"membrane of {name} in step {t}", found.membranes[name][0], array[t])
            _equal(engine, f"kept membrane of {name} after step {t}", held[name], array[t])
    _equal(engine, "logits of the last step", logits, expected.logits)
    assert engine.totals(plain)[1] == steps


def _equal(engine: Engine, what: str, found: NDArray[np.integer], expected: NDArray[np.integer]) -> None:
    if np.array_equal(found, expected):
        return
    assert found.shape == expected.shape, f"{engine}: {what} has shape {found.shape}; expected: {expected.shape}"
    place = tuple(int(i) for i in np.argwhere(found != expected)[0])
    raise AssertionError(
        f"{engine}: {what} differs at {int((found != expected).sum())} of {expected.size} places, first at {place}: "
        f"{found[place]} instead of {expected[place]}"
    )
