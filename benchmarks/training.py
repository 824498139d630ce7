"""How fast, and in how much memory, networks train: one step of ours beside spikingjelly's and snnTorch's.

    .venv/bin/python benchmarks/training.py --quick          about a minute
    .venv/bin/python benchmarks/training.py --json           about ten; the last line is one JSON object

One thread, CPU time of the whole process; ours and the peers take turns, round by round. See README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _shared.environment import PeerMissingError
from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table
from _shared.timing import interleave
from _shared.worker import Worker
from _training.cases import CASES, Case, native_precision, write_batches
from _training.contest import Contest
from _training.memory import Start, as_memory_table, memory_by_steps
from _training.participants import FLOAT, PEERS, STRICTER, Peer, Peers, start_ours, start_together, versions


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds, seconds per participant and round, batches to go round, T of the memory table."""

    rounds: int
    seconds: float
    batches: int
    memory_steps: tuple[int, ...]
    peers: tuple[Peer, ...] = PEERS


QUICK = Effort(2, 0.1, 1, ())
WHOLE = Effort(5, 2.0, 4, (2, 4, 8, 16), (*PEERS, STRICTER))


def main() -> int:
    """Measure, print, and write."""
    given = _arguments()
    clock = Clock()
    say = clock.say

    effort = QUICK if given.quick else WHOLE
    cases = [case for case in CASES if given.only in case.name]
    if not cases:
        raise SystemExit(f"no case has {given.only!r} in its name; cases: {', '.join(case.name for case in CASES)}")
    result: dict[str, Any] = {"benchmark": "training", "quick": given.quick, "machine": machine()}
    precision = native_precision()
    peers = Peers(precision, say)
    rows: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    for case in cases:
        found, entries = measure(case, peers, effort, say)
        rows += found
        memory += entries
    result |= {
        "precision": precision,
        "rounds": effort.rounds,
        "missing": [f"{peer}: {reason}" for peer, reason in peers.missing.items()],
        "rows": rows,
        "memory": memory,
        "seconds": clock.seconds,
    }
    result["machine"]["load_after"] = machine()["load"]
    _show(result, given)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of ten")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    parser.add_argument("--only", default="", help="cases whose name has this in it, such as 'mnist'")
    return parser.parse_args()


def measure(
    case: Case, peers: Peers, effort: Effort, say: Callable[[str], None]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a case, and its part of the memory table."""
    batches = write_batches(case, effort.batches)
    contest = Contest(case, peers.precision)
    say(f"{case.name}: starting workers, which measure the memory of their first steps")
    starts: dict[str, Callable[[], Worker | None]] = {}
    for version in versions():
        starts[version.name] = partial(start_ours, version, case, batches, peers.precision)
    for peer in effort.peers:
        starts[peer.name] = partial(peers.start, peer, case, batches)
    with ExitStack() as stack:
        contest.workers = start_together(starts)
        for worker in contest.workers.values():
            stack.callback(worker.close)
        contest.peers = {peer.name: peer for peer in effort.peers if peer.name in contest.workers}
        say(f"{case.name}: timing {effort.rounds} rounds")
        contest.series = interleave(
            {name: _timing(worker, effort.seconds) for name, worker in contest.workers.items()},
            effort.rounds,
            lambda number: say(f"  round {number + 1} of {effort.rounds}"),
        )
    return contest.rows(), memory_by_steps(contest.memory(), case, _starters(contest, peers), effort.memory_steps, say)


def _timing(worker: Worker, seconds: float) -> Callable[[], Mapping[str, Any]]:
    return lambda: worker.time(seconds)


def _starters(contest: Contest, peers: Peers) -> dict[str, Start]:
    """How to start each participant of the memory table at another T; one batch is enough there."""
    batches = write_batches(contest.case, 1)
    starters: dict[str, Start] = {FLOAT.name: lambda case: start_ours(FLOAT, case, batches, peers.precision)}
    for name, peer in contest.peers.items():
        if peer.headline:
            starters[name] = lambda case, peer=peer: peers.start(peer, case, batches)
    return starters


def _show(result: dict[str, Any], given: argparse.Namespace) -> None:
    print(as_table(result["rows"]))
    print(
        f"\n* named by the project's goals; ratio > 1: ours is ahead. This processor trains in {result['precision']}.\n"
    )
    print(as_memory_table(result["memory"]))
    finish(result, given)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerMissingError as error:
        sys.exit(f"training.py: {error}")
