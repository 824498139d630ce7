"""How fast networks run as integers, beside PyTorch fp32 and onnxruntime int8 on the same layers.

    .venv/bin/python benchmarks/inference.py --quick          a minute
    .venv/bin/python benchmarks/inference.py --json           ten minutes; the last line is one JSON object

One thread, CPU time of the whole process, batch 1; ours and the peers take turns, round by round. See README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _inference import extras
from _inference.cases import CASES, Prepared, prepare
from _inference.equality import compare, engine_builds
from _inference.participants import PEERS, TORCH, Peers, start_ours
from _shared.environment import PeerMissingError
from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table, timing_row
from _shared.timing import interleave
from _shared.worker import Worker

TORCH_ONCE = f"{TORCH}-stem-once"


@dataclass(frozen=True)
class Effort:
    """How long to time: rounds, and seconds per participant and round."""

    rounds: int
    seconds: float


QUICK, WHOLE = Effort(3, 0.3), Effort(11, 1.2)


def main() -> int:
    """Measure, print, and write."""
    given = _arguments()
    clock = Clock()
    say = clock.say

    import torch

    torch.set_num_threads(1)
    effort = QUICK if given.quick else WHOLE
    result: dict[str, Any] = {"benchmark": "inference", "quick": given.quick, "machine": machine()}
    cases = [prepare(case, say) for case in CASES if given.only in case.name]
    if not cases:
        raise SystemExit(f"no case has {given.only!r} in its name; cases: {', '.join(case.name for case in CASES)}")
    peers = Peers(say)
    rows: list[dict[str, Any]] = []
    for network in dict.fromkeys(prepared.case.network for prepared in cases):
        group = [prepared for prepared in cases if prepared.case.network == network]
        say(f"{network}: timing {effort.rounds} rounds")
        rows += network_rows(group, peers, effort, say)
    if given.profile:
        rows += [row for prepared in cases for row in extras.kernel_rows(prepared, effort.rounds, effort.seconds, say)]
        result["layers"] = [table for prepared in cases for table in extras.layer_times(prepared)]
    say("comparing every spike with the reference")
    equality = [table for prepared in cases for table in compare(prepared)]
    result |= {
        "engine": list(engine_builds()) or ["reference"],
        "rounds": effort.rounds,
        "missing": [f"{peer}: {reason}" for peer, reason in peers.missing.items()],
        "rows": rows,
        "equality": equality,
        "cases": {prepared.case.name: _told(prepared) for prepared in cases},
        "seconds": clock.seconds,
    }
    result["machine"]["load_after"] = machine()["load"]
    _show(result, given)
    differing = sum(table["differing_spikes"] + table["differing_logits"] for table in equality)
    return 1 if differing else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    parser.add_argument("--only", default="", help="cases whose name has this in it, such as 'mnist' or 'rate=0.10'")
    parser.add_argument("--profile", action="store_true", help="also time layers, and kernels, each forced")
    return parser.parse_args()


def network_rows(
    group: Sequence[Prepared], peers: Peers, effort: Effort, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The rows of one network: all its rates and all its peers take turns in the same rounds."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        rivals = peers.start(group[0])
        if group[0].graph.input.kind == "image" and TORCH in rivals:
            rivals[TORCH_ONCE] = peers.torch_once(group[0])
        ours = {prepared.case.name: start_ours(prepared) for prepared in group}
        builds = extras.build_workers(group)
        workers: dict[str, Worker] = {**rivals, **ours, **builds}
        for worker in workers.values():
            stack.callback(worker.close)
        series = interleave(
            {name: _timing(worker, effort.seconds) for name, worker in workers.items()},
            effort.rounds,
            lambda number: say(f"  round {number + 1} of {effort.rounds}"),
        )
        for prepared in group:
            facts = prepared.row_facts() | {"clock": "cpu", "engine": what_ran(ours[prepared.case.name])}
            for peer in rivals:
                mine, theirs = series[prepared.case.name], series[peer]
                named = is_headline(prepared.case.network, peer)
                rows.append(timing_row(prepared.case.name, peer, mine, theirs, headline=named, **facts))
        rows += extras.build_rows(group, builds, series)
        rows += extras.file_rows(group, ours, rivals)
    rows += extras.thread_rows(group, effort.rounds, effort.seconds)
    return rows


def what_ran(worker: Worker) -> str:
    """The engine's best build, or the reference: only the reference needs torch."""
    builds = engine_builds()
    return builds[0] if builds and not worker.info["torch_loaded"] else "reference"


def _timing(worker: Worker, seconds: float) -> Callable[[], Mapping[str, Any]]:
    return lambda: worker.time(seconds)


def is_headline(network: str, peer: str) -> bool:
    """Whether the project's goals name this comparison."""
    return peer in PEERS if network == "resnet19" else peer == TORCH


def _told(prepared: Prepared) -> dict[str, Any]:
    return {
        "samples": len(prepared.samples),
        "rate": prepared.rate,
        "rates": prepared.rates,
        "note": prepared.note,
        "file_bytes": prepared.path.stat().st_size,
    }


def _show(result: dict[str, Any], given: argparse.Namespace) -> None:
    print(as_table(result["rows"]))
    rates = (f"{name.partition(' ')[0]} {told['rate']:.3f}" for name, told in result["cases"].items())
    print(f"\n* named by the project's goals; ratio > 1: ours is ahead. Engine: {', '.join(result['engine'])}.")
    if any(row.get("engine") == "reference" for row in result["rows"]):
        print("The reference ran, not the engine: these times say nothing about bitspike's speed.")
    print(f"Firing rates measured: {', '.join(rates)}.")
    for table in result["equality"]:
        print(
            f"{table['case']}, {table['build']}: {table['differing_spikes']} of {table['spikes']:,} spikes and "
            f"{table['differing_logits']} of {table['logits']} logits differ from the reference"
        )
    if not result["equality"]:
        print("No engine is built here, so there was nothing to compare with the reference.")
    for table in result.get("layers", []):
        parts = ", ".join(f"{name} {ms:.3g}" for name, ms in table["ms"].items())
        print(f"{table['case']}, {table['build']}, ms by layer: {parts}")
    finish(result, given)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerMissingError as error:
        sys.exit(f"inference.py: {error}")
