"""What the weight of the spike loss does: accuracy, firing rates and engine time of the same network trained with each.

    BITSPIKE_DATA=... .venv/bin/python benchmarks/spike_loss.py --json          half a minute; needs Fashion-MNIST

The networks are models/spike-loss/*.bsp, one run each (recipes/qsnn-fashion-1w2u.toml, seed 0, regulation.spike_loss as
the row says). Times are CPU time of one thread at batch 1, the median over images of the fastest of some calls.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _shared.machine import machine
from _shared.rows import value_row

MODELS = Path(__file__).resolve().parents[1] / "models" / "spike-loss"
IMAGES, CALLS, ROUNDS = 100, 5, 5
PUBLISHED = 1e-3


def milliseconds(nets: dict[float, Any], images: Any) -> dict[float, float]:
    """Median over images of the fastest of CALLS; the networks take turns, the median of ROUNDS counts."""
    rounds: dict[float, list[float]] = {weight: [] for weight in nets}
    for _ in range(ROUNDS):
        for weight, net in nets.items():
            times = []
            for image in images[:IMAGES]:
                calls = []
                for _ in range(CALLS):
                    began = time.process_time_ns()
                    net.predict(image[None])
                    calls.append(time.process_time_ns() - began)
                times.append(min(calls))
            rounds[weight].append(statistics.median(times) / 1e6)
    return {weight: statistics.median(found) for weight, found in rounds.items()}


def main() -> int:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    given = parser.parse_args()

    from bitspike.data import load
    from bitspike.runtime import IntegerNet, evaluate_integers

    nets = {float(path.stem.rpartition("-")[2]): IntegerNet.load(path) for path in sorted(MODELS.glob("*.bsp"))}
    nets = dict(sorted(nets.items()))
    data = load("fashion-mnist", "test")
    times = milliseconds(nets, data.inputs)
    rows = []
    for weight, net in nets.items():
        found = evaluate_integers(net, data)
        row = value_row(
            f"fashion-mnist spike_loss={weight:g}",
            f"spike_loss={PUBLISHED:g}",
            times[weight],
            times[PUBLISHED],
            "ms",
            runs=ROUNDS,
            headline=False,
            accuracy=found.accuracy,
            firing_rates={name: round(rate, 4) for name, rate in found.firing_rates.items()},
            T=net.graph.input.time_steps,
            batch=1,
            engine=net.runner.name,
        )
        rows.append(row)
        rates = ", ".join(f"{name} {rate:.1%}" for name, rate in found.firing_rates.items())
        print(f"spike loss {weight:<6g} {found.accuracy:.2%}   {rates}   {times[weight]:.4f} ms an image")
    result = {"benchmark": "spike_loss", "machine": machine(), "missing": [], "rows": rows}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
