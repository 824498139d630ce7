"""The unsupervised network on MNIST and Fashion-MNIST: float, in integers, every rounding, before and after training.

    BITSPIKE_DATA=... .venv/bin/python studies/stdp_tables.py          all that is missing, half a minute a row
    .venv/bin/python studies/stdp_tables.py --table                    the tables, from the rows that are there

See README.md. Every accuracy is by proportion weighting on the whole test split, the other scheme beside it.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _study.program import work_or_list
from _study.runs import Study
from _study.stdp import StdpRun, execute

SEEDS = (0, 1, 2)
DATA = ("mnist", "fashion-mnist")
WIDTHS = (8, 6, 5, 4, 3)
ROUNDINGS = ("stochastic", "nearest", "truncation")
FLOAT, INTEGER = "stdp-mnist-float", "stdp-mnist"
ROWS = {"float": FLOAT, "4 bits": INTEGER, "3 bits": "stdp-mnist-3bits"}
WIDE_STATE = ("bits.membrane=16", "bits.threshold=16", "bits.trace=8", "bits.scale=16")
"""So that truncation and nearest are seen in the weights, not in thresholds that never rise."""
TITLES = {
    "main": "",
    "itq": "learned in integers",
    "ptq": "quantized after training",
    "state": "widths of the neurons",
}
LARGE = ("network.neurons=1600", "network.theta_plus=0.2", "stdp.passes=2")


def _row(data: str, row: str, seed: int) -> StdpRun:
    model = f"stdp-{data}-{row.replace(' ', '')}" if seed == 0 and row != "float" else ""
    return StdpRun("main", data, f"{row} N=400", seed, ROWS[row], model=model)


def runs() -> list[StdpRun]:
    """All runs, the most wanted first."""
    main = [_row(data, row, seed) for data in DATA for seed in SEEDS for row in ROWS]
    large = [
        StdpRun("main", "mnist", f"{row} N=1600", seed, ROWS[row], LARGE)
        for seed in SEEDS
        for row in ("float", "4 bits")
    ]
    widths = [
        StdpRun(
            "itq",
            "mnist",
            f"{width} bits {rounding}",
            seed,
            INTEGER,
            (*WIDE_STATE, f"bits.weight={width}", f"bits.rounding={rounding}"),
        )
        for seed in SEEDS
        for rounding in ROUNDINGS
        for width in WIDTHS
    ]
    after = [
        StdpRun(
            "ptq",
            "mnist",
            f"{width} bits {rounding}",
            seed,
            FLOAT,
            quantize=(f"weight={width}", f"rounding={rounding}"),
        )
        for seed in SEEDS
        for rounding in ROUNDINGS
        for width in (*WIDTHS, 2, 1)
    ]
    narrow = [
        StdpRun(
            "ptq",
            "mnist",
            f"{width} bits stochastic, narrow neurons",
            seed,
            FLOAT,
            quantize=(f"weight={width}", "membrane=12", "threshold=12", "trace=6", "scale=12"),
        )
        for seed in SEEDS
        for width in (3, 2, 1)
    ]
    state = [
        StdpRun("state", "mnist", row, 0, INTEGER, changes)
        for row, changes in (
            ("membrane 16", ("bits.membrane=16",)),
            ("membrane 10", ("bits.membrane=10",)),
            ("membrane 8", ("bits.membrane=8",)),
            ("threshold 16", ("bits.threshold=16",)),
            ("threshold 10", ("bits.threshold=10",)),
            ("threshold 8", ("bits.threshold=8",)),
            ("trace 8", ("bits.trace=8",)),
            ("trace 4", ("bits.trace=4",)),
            ("trace 2", ("bits.trace=2",)),
            ("scale 8", ("bits.scale=8",)),
        )
    ]
    return main[: len(SEEDS) * len(ROWS)] + large + main[len(SEEDS) * len(ROWS) :] + widths + narrow + after + state


def table(rows: Iterable[Mapping[str, Any]], name: str, data: str) -> str:
    """Mean and deviation over seeds, and the distance from the float network of the same size."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    floats: dict[str, float] = {}
    everything = list(rows)
    for row in everything:
        settings = row["settings"]
        if settings["table"] == name and settings["data"] == data:
            groups.setdefault(settings["row"], []).append(row)
    for size in ("N=400", "N=1600"):
        same = [row["accuracy"] for row in everything if _is_float(row, size, data)]
        if same:
            floats[size] = statistics.fmean(same)
    if not groups:
        return ""
    lines = ["| | accuracy | all-activity | points from float | memory | seeds |", "|---|---|---|---|---|---|"]
    for label, group in groups.items():
        base = floats.get("N=1600" if "N=1600" in label else "N=400")
        mean = statistics.fmean(row["accuracy"] for row in group)
        other = statistics.fmean(row["all_activity"] for row in group)
        spread = f" ± {100 * statistics.stdev(row['accuracy'] for row in group):.2f}" if len(group) > 1 else ""
        distance = "" if base is None or label.startswith("float") else f"{100 * (mean - base):+.2f}"
        lines.append(
            f"| {label} | {100 * mean:.2f}{spread} % | {100 * other:.2f} % | {distance} | "
            f"{group[0]['memory_ratio']:.2f}x less | {len(group)} |"
        )
    return "\n".join(lines)


def _is_float(row: Mapping[str, Any], size: str, data: str) -> bool:
    settings = row["settings"]
    return settings["data"] == data and settings["row"] == f"float {size}"


def main() -> int:
    """Work, or tell what there is."""
    study = Study("stdp_tables", runs())
    if not work_or_list(study, execute, __doc__):
        return 0
    for name, title in (
        ("main", ""),
        ("itq", "learned in integers"),
        ("ptq", "quantized after training"),
        ("state", "widths of the neurons"),
    ):
        for data in DATA:
            text = table(study.rows(), name, data)
            if text:
                print(f"\n{data}{', ' if title else ''}{title}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
