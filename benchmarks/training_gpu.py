"""How fast ResNet19 trains on a GPU: our fused step beside the plain one, and beside spikingjelly's if it is installed.

    .venv/bin/python benchmarks/training_gpu.py --quick           about a minute
    .venv/bin/python benchmarks/training_gpu.py --json            some minutes; the last line is one JSON object
    .venv/bin/python benchmarks/training_gpu.py --device cpu --quick    a tiny one, to see that it works

One participant after the other has the device for itself. See README.md.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch

from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table, timing_row
from _training.on_device import Job, Measured, Step, measure, our_step, peer_step, summary
from bitspike.block.native import kernels_of
from bitspike.train import choose_device
from bitspike.train.precision import chosen_precision

FUSED, FLOAT, PLAIN, PEER = "bitspike-1w2u", "bitspike-32w32u", "bitspike-1w2u-plain", "spikingjelly"


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds, and seconds of each."""

    rounds: int
    seconds: float


QUICK, WHOLE = Effort(2, 0.5), Effort(5, 5.0)


def main() -> int:
    """Measure, print, and write."""
    given = _arguments()
    clock = Clock()
    say = clock.say

    device = choose_device(given.device)
    gpu = device.type == "cuda"
    size, batch = (32, 128) if gpu else (8, 2)
    job = Job(device, chosen_precision(given.precision, device), given.batch or batch, size)
    missing = [] if kernels_of(device) else [f"{FUSED}: no kernels of training for {device}, so it is plain"]
    found, absent = contest(job, QUICK if given.quick else WHOLE, say)
    result: dict[str, Any] = {
        "benchmark": "training_gpu",
        "quick": given.quick,
        "machine": machine() | {"device": torch.cuda.get_device_name(device) if gpu else "cpu"},
        "torch": torch.__version__,
        "precision": job.precision,
        "missing": missing + absent,
        "rows": rows(job, found),
        "participants": [summary(name, times, job) for name, times in found.items()],
        "seconds": clock.seconds,
    }
    _show(result, given)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:0; on cpu everything is tiny")
    parser.add_argument("--batch", type=int, default=0, help="images a step (128; on a cpu 2)")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--quick", action="store_true", help="about a minute")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    return parser.parse_args()


def contest(job: Job, effort: Effort, say: Callable[[str], None]) -> tuple[dict[str, Measured], list[str]]:
    """The times of all who can be had, and why others cannot."""
    facts: dict[str, Any] = {}
    makers: dict[str, Callable[[], Step]] = {
        FUSED: lambda: our_step(job, "1w2u", fused=True),
        FLOAT: lambda: our_step(job, "32w32u", fused=True),
        PLAIN: lambda: our_step(job, "1w2u", fused=False),
        PEER: lambda: peer_step(job, facts),
    }
    missing = []
    if importlib.util.find_spec("spikingjelly") is None:
        del makers[PEER]
        missing.append(f"{PEER}: not installed (pip install --no-deps spikingjelly==2.0.0; pip install loguru)")
    found: dict[str, Measured] = {}
    for name, make in makers.items():
        say(f"{job.name}: {name} on {job.device} in {job.precision}")
        try:
            torch.manual_seed(0)
            found[name] = measure(make(), job.device, effort.rounds, effort.seconds)
        except torch.cuda.OutOfMemoryError:
            missing.append(f"{name}: not enough memory for a batch of {job.batch}")
        gc.collect()  # the next one has the memory for itself
        if job.device.type == "cuda":
            torch.cuda.empty_cache()
    if PEER in found:
        found[PEER].facts |= facts
    return found, missing


def rows(job: Job, found: dict[str, Measured]) -> list[dict[str, Any]]:
    """Who is compared with whom: fused with plain, and each of our bits with the peer, which does not quantize."""
    pairs = [(FUSED, PLAIN, True), (FUSED, PEER, True), (FLOAT, PEER, False), (FUSED, FLOAT, False)]
    table = []
    for ours, theirs, headline in pairs:
        if ours in found and theirs in found:
            facts = {"T": job.steps, "batch": job.batch, "clock": "wall", "precision": job.precision}
            spec = ours.removeprefix("bitspike-")
            mine, others = found[ours].series, found[theirs].series
            table.append(timing_row(f"{job.name} {spec}", theirs, mine, others, headline=headline, spec=spec, **facts))
    return table


def _show(result: dict[str, Any], given: argparse.Namespace) -> None:
    print(as_table(result["rows"]))
    print(f"\n* named by the project's goals; ratio > 1: ours is ahead. {result['machine']['device']}, in", end=" ")
    print(f"{result['precision']}.\n")
    for entry in result["participants"]:
        memory = "" if entry["peak_bytes"] is None else f", at most {entry['peak_bytes'] / 2**30:.2f} GiB"
        print(
            f"{entry['name']:<22} {entry['images_per_second']:>10,} images/s, {entry['ms']:,} ms a step "
            f"(host {entry['host_ms']:,} ms){memory}"
        )
    finish(result, given)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f"training_gpu.py: {error}")
