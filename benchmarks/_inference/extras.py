"""Beside the cases: instruction-set builds, two threads, file, load time, resident memory, kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from _inference.cases import Prepared
from _inference.equality import engine_builds
from _inference.participants import PEERS, start_ours
from _shared.rows import timing_row, value_row
from _shared.serving import timed
from _shared.timing import Series, interleave
from _shared.worker import Worker

RATE = "resnet19 T=2 B=1 rate=0.10"
KERNELS = ("planes", "dense", "lanes")
PROFILED = 20
"""Runs per sample of which layers are timed."""


def _subject(group: Sequence[Prepared]) -> Prepared | None:
    """The case on which builds, threads, file and memory are measured, if it is in the group."""
    return next((prepared for prepared in group if prepared.case.name == RATE), None)


def build_workers(group: Sequence[Prepared]) -> dict[str, Worker]:
    """Our network in every build but the best, which is the one the runtime chooses; by row name."""
    prepared = _subject(group)
    if prepared is None:
        return {}
    return {f"{RATE} build={build}": start_ours(prepared, build=build) for build in engine_builds()[1:]}


def build_rows(
    group: Sequence[Prepared], workers: Mapping[str, Worker], series: Mapping[str, Series]
) -> list[dict[str, Any]]:
    """Each lesser build against the best one: the ratio is the share of its speed. None where the reference ran."""
    prepared = _subject(group)
    if prepared is None:
        return []
    rows = []
    for case, worker in workers.items():
        if not worker.info["torch_loaded"]:
            facts = prepared.row_facts() | {"clock": "cpu", "engine": case.rpartition("=")[2]}
            best = f"bitspike-{engine_builds()[0]}"
            rows.append(timing_row(case, best, series[case], series[RATE], headline=False, **facts))
    return rows


def thread_rows(group: Sequence[Prepared], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Two threads against one, wall time: it means something only while nobody else uses the machine."""
    prepared = _subject(group)
    if prepared is None or not engine_builds():
        return []
    with start_ours(prepared, threads=1) as one, start_ours(prepared, threads=2) as two:
        series = interleave(
            {"one": lambda: one.time(seconds, "wall"), "two": lambda: two.time(seconds, "wall")}, rounds
        )
    facts = prepared.row_facts() | {"threads": 2, "clock": "wall"}
    case = f"{RATE} threads=2"
    return [timing_row(case, "bitspike-1-thread", series["two"], series["one"], headline=False, **facts)]


def file_rows(
    group: Sequence[Prepared], ours: Mapping[str, Worker], rivals: Mapping[str, Worker]
) -> list[dict[str, Any]]:
    """Bytes of the model file, milliseconds (CPU) to load it, resident bytes at the highest while predicting."""
    prepared = _subject(group)
    if prepared is None:
        return []
    mine = ours[RATE]
    highest = mine.ask(do="memory")["highest"]
    without_torch = not mine.info["torch_loaded"]
    rows = []
    for peer in PEERS:
        if peer not in rivals:
            continue
        other = rivals[peer]
        pairs: list[tuple[str, float, float, str, dict[str, Any]]] = [
            ("file", mine.info["file_bytes"], other.info["file_bytes"], "bytes", {}),
            ("load", mine.info["load_ms"], other.info["load_ms"], "ms", _loading(mine)),
            ("memory", highest, other.ask(do="memory")["highest"], "bytes", {"without_torch": without_torch}),
        ]
        for what, value, theirs, unit, facts in pairs:
            rows.append(value_row(f"resnet19 {what}", peer, value, theirs, unit, runs=1, headline=False, **facts))
    return rows


def _loading(worker: Worker) -> dict[str, Any]:
    return {"clock": "cpu"} | {key: round(worker.info[key], 3) for key in ("first_load_ms", "first_predict_ms")}


def kernel_rows(prepared: Prepared, rounds: int, seconds: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Each kernel forced on all layers that can have it, against the engine's own choice per layer."""
    if not engine_builds():
        return []
    from bitspike.engine import Engine

    say(f"{prepared.case.name}: forcing kernels")
    runners = {kernel: Engine(prepared.graph, kernel=kernel).predict for kernel in ("auto", *KERNELS)}
    samples = list(prepared.samples)
    series = interleave(
        {name: _timer(runner, samples, seconds) for name, runner in runners.items()},
        rounds,
    )
    facts = prepared.row_facts() | {"clock": "cpu"}
    return [
        timing_row(
            f"{prepared.case.name} kernel={kernel}",
            "bitspike-auto",
            series[kernel],
            series["auto"],
            headline=False,
            **facts,
        )
        for kernel in KERNELS
    ]


def _timer(predict: Callable[[Any], Any], samples: list[Any], seconds: float) -> Callable[[], Mapping[str, Any]]:
    return lambda: timed(lambda i: predict(samples[i]), len(samples), seconds)


def layer_times(prepared: Prepared) -> list[dict[str, Any]]:
    """Milliseconds of CPU time by node, as the engine's own clock tells; the mean over the samples, for each build."""
    tables = []
    for build in engine_builds():
        from bitspike.engine import Engine

        engine = Engine(prepared.graph, build=build)
        told = [engine.profile(sample, PROFILED) for sample in prepared.samples]
        times = {name: round(1e3 * sum(one[name] for one in told) / len(told), 5) for name in told[0]}
        tables.append({"case": prepared.case.name, "build": build, "ms": times})
    return tables
