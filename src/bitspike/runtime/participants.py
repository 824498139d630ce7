"""Everything that can run a network here, as `certify` compares it with the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.engine import KERNELS, Engine, UnusableLibrary, UnusableNetwork, builds
from bitspike.engine.library import library
from bitspike.integer.graph import Graph
from bitspike.integer.recorded import Recorded
from bitspike.runtime.difference import Watched
from bitspike.runtime.runner import Runner

LAYERS, STEPS = "layers", "steps"


@dataclass(frozen=True)
class Participant:
    """One way of running a network: what runs it, with which kernel, in which order."""

    runner: str
    order: str
    run: Callable[[NDArray[np.uint8]], Watched]
    kernel: str = ""


@dataclass
class Party:
    """Who takes part, who cannot and why, and the C compiler that was used."""

    participants: list[Participant] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    compiler: str | None = None


def by_layers(runner: Runner, samples: NDArray[np.uint8], *, membranes: bool = True) -> Watched:
    """All steps of a layer at once; the logits also as they come when nobody watches."""
    found = runner.run(samples, membranes=membranes)
    return Watched(found.values, found.membranes, [found.logits[None], runner.predict(samples)[None]])


def by_steps(runner: Runner, samples: NDArray[np.uint8]) -> Watched:
    """One step of all layers at a time; membranes are read from the state that is carried on."""
    entry = runner.graph.input
    frames = list(samples) if entry.kind == "events" else [samples] * (entry.time_steps or 1)
    batch = len(frames[0])
    state, unwatched = runner.state(batch), runner.state(batch)
    seen: list[Recorded] = []
    stored: list[dict[str, NDArray[np.int32]]] = []
    alone: list[NDArray[np.int64]] = []
    for frame in frames:
        seen.append(runner.run_step(frame, state, membranes=False))
        stored.append(runner.membranes(state))
        alone.append(runner.step(frame, unwatched))
    values = {name: np.concatenate([step.values[name] for step in seen]) for name in seen[0].values}
    membranes = {name: np.stack([step[name] for step in stored]) for name in stored[0]}
    return Watched(values, membranes, [np.stack([step.logits for step in seen]), np.stack(alone)])


def gather(graph: Graph, wanted: Sequence[str] | None, kernels: Sequence[str] | None, *, compiled: bool) -> Party:
    """The engine's builds with their kernels, and the compiled C export.

    wanted, kernels: None for all that this processor can run.
    """
    party = Party()
    _add_engine(party, graph, wanted, tuple(KERNELS if kernels is None else kernels))
    _add_compiled(party, graph, compiled)
    return party


def _add_engine(party: Party, graph: Graph, wanted: Sequence[str] | None, kernels: Sequence[str]) -> None:
    try:
        usable = builds()
    except UnusableLibrary as error:
        party.missing.append(f"engine: {error}")
        return
    if not usable:
        party.missing.append("engine: none was built with this installation")
        return
    if not kernels:
        raise ValueError(f"kernels are none; allowed: {', '.join(KERNELS)}, or None for all")
    chosen = usable if wanted is None else tuple(wanted)
    party.missing += [f"engine {name}: this processor cannot run it" for name in _compiled_in() if name not in usable]
    party.missing += [f"engine {name}: left out as asked" for name in usable if name not in chosen]
    party.missing += [f"kernel {name}: left out as asked" for name in KERNELS if chosen and name not in kernels]
    stepped = "auto" if "auto" in kernels else kernels[0]
    for build in chosen:
        for kernel in kernels:
            try:
                engine = Engine(graph, build=build, kernel=kernel)
            except (UnusableNetwork, MemoryError) as error:
                party.missing.append(f"engine {build}, kernel {kernel}: {error}")
                continue
            name = f"engine {build}"
            party.participants.append(Participant(name, LAYERS, _watching(engine, by_layers), kernel))
            if kernel == stepped:
                party.participants.append(Participant(name, STEPS, _watching(engine, by_steps), kernel))


def _compiled_in() -> list[str]:
    """The builds of the library, whether they run here or not."""
    found = library()
    return [] if found is None else [found.bs_build_name(n).decode() for n in range(found.bs_build_count())]


def _watching(
    runner: Runner, how: Callable[[Runner, NDArray[np.uint8]], Watched]
) -> Callable[[NDArray[np.uint8]], Watched]:
    return lambda samples: how(runner, samples)


@dataclass(frozen=True)
class _Exported:
    graph: Graph


def _add_compiled(party: Party, graph: Graph, compiled: bool) -> None:
    if not compiled:
        party.missing.append("compiled C: left out as asked")
        return
    from bitspike.export import CompiledNet

    # Keeping the sums of a static input is a choice of whoever compiles; events are never static.
    for reuse in (False, True) if graph.input.kind == "image" else (False,):
        name = "compiled C, input sums kept" if reuse else "compiled C"
        try:
            net = CompiledNet(_Exported(graph), reuse_input=reuse)
        except (OSError, RuntimeError, ValueError) as error:
            party.missing.append(f"{name}: {error}")
            continue
        party.compiler = net.compiler
        party.participants.append(Participant(name, STEPS, _running(net)))


def _running(net: Any) -> Callable[[NDArray[np.uint8]], Watched]:
    def run(samples: NDArray[np.uint8]) -> Watched:
        found = net.run(samples)
        return Watched(found.values, found.membranes, [found.steps.astype(np.int64), net.predict(samples)[None]])

    return run
