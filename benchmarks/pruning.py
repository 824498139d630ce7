"""What removing channels is worth: engine time, instructions on a microcontroller, bytes, before and after.

    .venv/bin/python benchmarks/pruning.py --quick          a minute
    .venv/bin/python benchmarks/pruning.py --json           some minutes; the last line is one JSON object

Pruned to a quarter of the dense operations. One thread, CPU time, batch 1; both networks take turns. See README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _inference.equality import compare, engine_builds
from _inference.participants import start_ours
from _pruning.exported import Export, footprint, instructions
from _pruning.layers import layer_times, why_not_four
from _pruning.networks import SUBJECTS, UNPRUNED, Pair, prepare
from _shared.environment import PeerMissingError
from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table, timing_row, value_row
from _shared.timing import interleave

EXPORTED = "small_vgg"
"""The network that a microcontroller holds."""


@dataclass(frozen=True)
class Effort:
    """How long to time: rounds, seconds per participant and round, rounds of layers."""

    rounds: int
    seconds: float
    layer_rounds: int


QUICK, WHOLE = Effort(5, 0.3, 8), Effort(15, 1.2, 40)


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    clock = Clock()
    say = clock.say

    import torch

    torch.set_num_threads(1)
    effort = QUICK if given.quick else WHOLE
    subjects = [subject for subject in SUBJECTS if given.only in subject.case]
    if not subjects:
        raise SystemExit(f"no case has {given.only!r} in its name; cases: {', '.join(one.case for one in SUBJECTS)}")
    result: dict[str, Any] = {"benchmark": "pruning", "quick": given.quick, "machine": machine()}
    rows: list[dict[str, Any]] = []
    layers: list[dict[str, Any]] = []
    equality: list[dict[str, Any]] = []
    missing: list[str] = []
    told: dict[str, Any] = {}
    for subject in subjects:
        pair = prepare(subject, say)
        say(f"{subject.model}: timing {effort.rounds} rounds, then layers")
        rows += [*engine_rows(pair, effort), *size_rows(pair)]
        layers += layer_times(pair, effort.layer_rounds)
        told[subject.case] = pair.facts | {"rates": {UNPRUNED: pair.before.rates, "pruned": pair.after.rates}}
        if subject.model == EXPORTED:
            say(f"{subject.model}: counting the instructions of its exported C")
            rows += export_rows(pair, missing)
        say(f"{subject.model}: comparing every spike with the reference")
        equality += [table for prepared in (pair.before, pair.after) for table in compare(prepared)]
    result |= {
        "engine": list(engine_builds()) or ["reference"],
        "rounds": effort.rounds,
        "missing": missing,
        "rows": rows,
        "layers": layers,
        "why_not_4x": why_not_four(layers, engine_builds()[0]) if layers else None,
        "equality": equality,
        "cases": told,
        "seconds": clock.seconds,
    }
    result["machine"]["load_after"] = machine()["load"]
    _show(result, given)
    return 1 if any(table["differing_spikes"] + table["differing_logits"] for table in equality) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of some")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    parser.add_argument("--only", default="", help="cases whose name has this in it, such as 'resnet20'")
    return parser.parse_args()


def engine_rows(pair: Pair, effort: Effort) -> list[dict[str, Any]]:
    """Milliseconds of an image, pruned against unpruned."""
    with start_ours(pair.before) as before, start_ours(pair.after) as after:

        def timing(worker: Any) -> Callable[[], Mapping[str, Any]]:
            return lambda: worker.time(effort.seconds)

        series = interleave({UNPRUNED: timing(before), "pruned": timing(after)}, effort.rounds)
        ran = "reference" if after.info["torch_loaded"] or not engine_builds() else engine_builds()[0]
    facts = pair.after.row_facts() | {"clock": "cpu", "engine": ran}
    return [timing_row(pair.subject.case, UNPRUNED, series["pruned"], series[UNPRUNED], headline=True, **facts)]


def size_rows(pair: Pair) -> list[dict[str, Any]]:
    """Dense operations, parameters, bytes of memory as `measure` counts them, and bytes of the .bsp file."""
    facts = pair.facts
    files = [prepared.path.stat().st_size for prepared in (pair.before, pair.after)]
    values = [
        ("operations", facts["operations_before"], facts["operations_after"], "operations"),
        ("parameters", facts["parameters_before"], facts["parameters_after"], "parameters"),
        ("memory", facts["memory_before"], facts["memory_after"], "bytes"),
        ("file", *files, "bytes"),
    ]
    return [_row(pair, what, before, after, unit) for what, before, after, unit in values]


def export_rows(pair: Pair, missing: list[str]) -> list[dict[str, Any]]:
    """Instructions of an image, and bytes on a device; what cannot be measured here is told in `missing`."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bitspike-") as folder:
        before, after = (
            Export.of(prepared, Path(folder) / name)
            for name, prepared in ((UNPRUNED, pair.before), ("pruned", pair.after))
        )
        reports = before.report, after.report
        rows.append(_row(pair, "C RAM", *(report.ram_bytes for report in reports), "bytes"))
        rows.append(_row(pair, "C constants", *(report.constant_bytes for report in reports), "bytes"))
        try:
            sizes = footprint(before), footprint(after)
            rows.append(_row(pair, "C flash Cortex-M4", sizes[0][0], sizes[1][0], "bytes"))
        except PeerMissingError as error:
            missing.append(f"C flash: {error}")
        try:
            for reuse, name in ((False, "C instructions"), (True, "C instructions, input's sums kept")):
                counts = [instructions(export, reuse_input=reuse) for export in (before, after)]
                facts = pair.after.row_facts() | {"compiler": "-O2, this machine", "counter": "valgrind callgrind"}
                rows.append(_row(pair, name, *counts, "instructions", headline=not reuse, **facts))
        except PeerMissingError as error:
            missing.append(f"C instructions: {error}")
    return rows


def _row(
    pair: Pair, what: str, before: int, after: int, unit: str, *, headline: bool = False, **facts: Any
) -> dict[str, Any]:
    return value_row(f"{pair.subject.case}, {what}", UNPRUNED, after, before, unit, runs=1, headline=headline, **facts)


def _show(result: dict[str, Any], given: argparse.Namespace) -> None:
    print(as_table(result["rows"]))
    print("\n* named by the project's goals; ratio: unpruned by pruned.")
    if result["why_not_4x"]:
        print(result["why_not_4x"])
    for table in result["layers"]:
        if "channels_before" in table:
            expected = f", counting {table['counting_ratio']:.3g}" if "counting_ratio" in table else ""
            print(
                f"{table['case'].partition(' ')[0]} {table['layer']}: {table['channels_before']} -> "
                f"{table['channels_after']} channels, {table['before_ms']:.3g} -> {table['after_ms']:.3g} ms, "
                f"{table['ratio']:.3g}x{expected}"
            )
    for table in result["equality"]:
        print(
            f"{table['case']}, {table['build']}: {table['differing_spikes']} of {table['spikes']:,} spikes and "
            f"{table['differing_logits']} of {table['logits']} logits differ from the reference"
        )
    finish(result, given)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except PeerMissingError as error:
        sys.exit(f"pruning.py: {error}")
