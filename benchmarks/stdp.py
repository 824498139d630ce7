"""How fast the unsupervised network learns, beside BindsNET's DiehlAndCook2015: the same network, constants and state.

    BITSPIKE_DATA=... .venv/bin/python benchmarks/stdp.py --quick          a minute; needs MNIST
    BITSPIKE_DATA=... .venv/bin/python benchmarks/stdp.py --json           ten; the last line is one JSON object

One thread, CPU time of the whole process, coding included; ours and the peers take turns, round by round. Times are
milliseconds an image. See README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _shared.environment import PeerMissingError
from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table, timing_row
from _shared.timing import interleave
from _shared.worker import Worker
from _stdp.participants import AT_ONCE, PEERS, start_ours, start_peer, write_start

HEADLINE = "bindsnet-B1"
WIDTHS = (8, 4)


def main() -> int:
    """Measure, print, and write."""
    given = _arguments()
    clock = Clock()
    say = clock.say
    rounds, seconds = (3, 2.0) if given.quick else (7, 8.0)

    from bitspike.data import load
    from bitspike.stdp import StdpBits, StdpConfig

    data = load("mnist", "train")
    images = data.inputs.reshape(len(data), -1)
    float_config = StdpConfig(neurons=given.neurons)
    case = f"mnist N={given.neurons} train"
    result: dict[str, Any] = {"benchmark": "stdp", "quick": given.quick, "machine": machine()}
    missing: list[str] = []
    say(f"{case}: bringing a network to its first thousands of images")
    start = write_start(float_config, images)
    with ExitStack() as stack:
        ours = {case: start_ours(start)}
        for width in () if given.quick else WIDTHS:
            config = replace(float_config, bits=StdpBits(width))
            ours[f"{case} {width} bits"] = start_ours(write_start(config, images))
        peers: dict[str, Worker] = {}
        for peer in PEERS:
            try:
                peers[peer] = start_peer(peer, start, say)
            except PeerMissingError as error:
                missing.append(f"{peer}: {error}")
                say(f"without {peer}: {error}")
        for worker in (*ours.values(), *peers.values()):
            stack.callback(worker.close)
        say(f"timing {rounds} rounds")
        participants = {name: _timing(worker, seconds, AT_ONCE) for name, worker in ours.items()}
        participants |= {name: _timing(worker, seconds, PEERS[name]) for name, worker in peers.items()}
        series = interleave(participants, rounds, lambda number: say(f"  round {number + 1} of {rounds}"))
        rows = [
            timing_row(
                name,
                peer,
                series[name],
                series[peer],
                headline=name == case and peer == HEADLINE,
                clock="cpu",
                engine=worker.info["engine"],
                images_per_second=round(1e3 / series[name].median),
                peer_images_per_second=round(1e3 / series[peer].median, 2),
            )
            for name, worker in ours.items()
            for peer in peers
        ]
    result |= {
        "missing": missing,
        "rows": rows,
        "ours_ms": {name: series[name].median for name in ours},
        "minutes_for_60000": {name: series[name].median * 60000 / 6e4 for name in (*ours, *peers)},
        "seconds": clock.seconds,
    }
    result["machine"]["load_after"] = machine()["load"]
    print(as_table(rows))
    for name, minutes in result["minutes_for_60000"].items():
        print(f"60,000 images: {minutes:.2f} minutes ({name})")
    finish(result, given)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="about a minute instead of ten")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    parser.add_argument("--neurons", type=int, default=400, help="N (default: 400)")
    return parser.parse_args()


def _timing(worker: Worker, seconds: float, images: int) -> Callable[[], Mapping[str, Any]]:
    """Times a call and tells them by image."""

    def time() -> dict[str, Any]:
        found = worker.time(seconds)
        return {"ms": [ms / images for ms in found["ms"]], "calls": found["calls"]}

    return time


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerMissingError as error:
        sys.exit(f"stdp.py: {error}")
