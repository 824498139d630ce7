"""Q-SpiNN's exploration on Fashion-MNIST: which bits matter, fronts of PTQ and ITQ, rounding schemes, winners.

    BITSPIKE_DATA=... OMP_NUM_THREADS=1 .venv/bin/python studies/qspinn_tables.py

Every step is a command of bitspike, run in runs/qspinn/; one that was stopped goes on, one that is done is done. Then
results/qspinn_tables.json and results/explorations/ are written from what is there; see studies/README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK, RESULTS = ROOT / "runs" / "qspinn", ROOT / "results"
MODELS = {"small28": "fashion-float", "pooled": "fashion-pooled-float"}
FLOAT_TEST = "test_accuracy"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Step:
    """One exploration: a model, a space of studies/spaces, options of `bitspike explore`, and which one is picked."""

    name: str
    model: str
    space: str
    options: tuple[str, ...] = ()
    picks: tuple[str, ...] = ("--within", "1%", "--smallest")


ITQ = ("--train", "epochs=5", "--train", "lr=1.5e-3")
LONGER = ("--train", "epochs=10", "--train", "lr=2e-3")
EPOCHS_14 = ("--train", "epochs=14", "--train", "lr=2e-3")
EPOCHS_18 = ("--train", "epochs=18", "--train", "lr=2e-3")
ONE = ("--number", "0")
STEPS = (
    Step("fashion-ptq", "small28", "fashion-ptq"),
    Step("fashion-itq", "small28", "fashion-itq", ITQ),
    Step("fashion-itq-20x", "small28", "fashion-itq-20x", EPOCHS_14, picks=()),
    Step("fashion-pooled-ptq", "pooled", "fashion-pooled-ptq"),
    Step("fashion-pooled-itq", "pooled", "fashion-pooled-itq", LONGER),
    Step("fashion-pooled-1w2u", "pooled", "fashion-pooled-1w2u", EPOCHS_18, picks=ONE),
    Step("fashion-pooled-20x", "pooled", "fashion-pooled-20x", LONGER, picks=ONE),
    Step("fashion-pooled-odd", "pooled", "fashion-pooled-odd", LONGER, picks=ONE),
    Step("fashion-pooled-twos", "pooled", "fashion-pooled-twos", LONGER, picks=()),
    Step("fashion-pooled-regulated", "pooled", "fashion-pooled-regulated", LONGER, picks=()),
    *(
        Step(f"fashion-rounding-{seed}", "small28", "fashion-rounding", ("--seed", str(seed)), picks=())
        for seed in SEEDS
    ),
)


def bitspike(*words: str | Path) -> None:
    """Run one command; its own words go where ours go."""
    source = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "bitspike", *map(str, words)]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": source})


def work(only: str, workers: int) -> None:
    """All steps whose name contains `only`."""
    for short, model in MODELS.items():
        if only in f"significance-{short}":
            place = WORK / f"significance-{short}"
            bitspike("significance", _model(model), "--out", place, "--workers", str(workers))
    for step in STEPS:
        if only not in step.name:
            continue
        place = WORK / step.name
        space = ROOT / "studies" / "spaces" / f"{step.space}.toml"
        bitspike(
            "explore",
            _model(MODELS[step.model]),
            "--space",
            space,
            "--out",
            place,
            "--workers",
            str(workers),
            *step.options,
        )
        if step.picks and not (place / "picked.json").is_file():
            bitspike("pick", place, *step.picks, "--seeds", str(len(SEEDS)))


def _model(name: str) -> Path:
    return ROOT / "models" / "float" / f"{name}.safetensors"


def collect() -> dict[str, Any]:
    """What is there, as plain data; tables and pictures of explorations are copied beside it."""
    found: dict[str, Any] = {"study": "qspinn_tables", "significance": {}, "winners": {}, "rounding": []}
    kept = RESULTS / "explorations"
    kept.mkdir(parents=True, exist_ok=True)
    for short in MODELS:
        place = WORK / f"significance-{short}"
        if (place / "significance.json").is_file():
            found["significance"][short] = json.loads((place / "significance.json").read_text())
            shutil.copyfile(place / "significance.png", kept / f"significance-{short}.png")
    for step in STEPS:
        place = WORK / step.name
        if not (place / "exploration.json").is_file():
            continue
        table = json.loads((place / "exploration.json").read_text())
        unfinished = any(row["state"] in ("waiting", "running") for row in table["rows"])
        if unfinished and not (place / "picked.json").is_file():
            continue
        (kept / f"{step.name}.json").write_text(_compact(table))
        if (place / "front.png").is_file() and step.picks:
            shutil.copyfile(place / "front.png", kept / f"{step.name}.png")
        if (place / "picked.json").is_file():
            *earlier, picked = json.loads((place / "picked.json").read_text())
            found["winners"][step.name] = _winner(step, table, picked)
            if earlier:  # every look at the test split is told
                found["winners"][step.name]["earlier"] = [_winner(step, table, other) for other in earlier]
    found["rounding"] = _rounding()
    return found


def _compact(table: dict[str, Any]) -> str:
    """One line a candidate; the whole description of its quantization follows from its choices and is left out."""
    rows = [{key: value for key, value in row.items() if key not in ("quant", "firing_rates")} for row in table["rows"]]
    head = {key: value for key, value in table.items() if key != "rows"}
    lines = ",\n".join(json.dumps(row) for row in rows)
    return json.dumps(head)[:-1] + ', "rows": [\n' + lines + "\n]}\n"


def _winner(step: Step, table: dict[str, Any], picked: dict[str, Any]) -> dict[str, Any]:
    tests = picked["test_accuracies_of_seeds"]
    float_test = _float_test(MODELS[step.model])
    memory = table["baseline"]["memory"]
    return {
        "model": step.model,
        "candidates": sum(row["state"] == "complete" for row in table["rows"]),
        "number": picked["number"],
        "choices": picked["choices"],
        "float_memory": memory,
        "memory": picked["memory"],
        "smaller": round(memory / picked["memory"], 2),
        "float_validation": table["baseline"]["accuracy"],
        "validation": picked["validation_accuracy"],
        "float_test": float_test,
        "tests": tests,
        "test_mean": statistics.mean(tests),
        "test_deviation": statistics.stdev(tests) if len(tests) > 1 else None,
        "points": round(100 * (statistics.mean(tests) - float_test), 3),
    }


def _float_test(model: str) -> float:
    from safetensors import safe_open

    with safe_open(_model(model), "np") as content:
        header = json.loads(content.metadata()["bitspike"])
    return float(header["results"][FLOAT_TEST])


def _rounding() -> list[dict[str, Any]]:
    """Mean and deviation over seeds of every combination of roundings, at every width."""
    accuracies: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for seed in SEEDS:
        file = WORK / f"fashion-rounding-{seed}" / "exploration.json"
        for row in json.loads(file.read_text())["rows"] if file.is_file() else []:
            if row["state"] == "complete":
                chosen = row["choices"]
                key = (chosen["weight.bits"], chosen["weight.rounding"], chosen["membrane.rounding"])
                accuracies[key].append(row["accuracy"])
    return [
        {
            "weight_bits": bits,
            "weight_rounding": weight,
            "membrane_rounding": membrane,
            "accuracy": statistics.mean(found),
            "deviation": statistics.stdev(found) if len(found) > 1 else None,
            "seeds": len(found),
        }
        for (bits, weight, membrane), found in accuracies.items()
    ]


def show(found: dict[str, Any]) -> None:
    """The tables as Markdown."""
    for name, row in found["winners"].items():
        deviation = "" if row["test_deviation"] is None else f" ± {100 * row['test_deviation']:.2f}"
        print(
            f"| {name} | {row['candidates']} | {row['memory']:,} | {row['smaller']}x | "
            f"{100 * row['test_mean']:.2f}{deviation} % | {row['points']:+.2f} |"
        )
    for row in found["rounding"]:
        deviation = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.2f}"
        print(
            f"| {row['weight_bits']} | {row['weight_rounding']} | {row['membrane_rounding']} | "
            f"{100 * row['accuracy']:.2f}{deviation} % |"
        )


def main() -> int:
    """Work, collect, show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="steps whose name contains this")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--table", action="store_true", help="only collect what is there")
    given = parser.parse_args()
    if not given.table:
        work(given.only, given.workers)
    found = collect()
    (RESULTS / "qspinn_tables.json").write_text(json.dumps(found, indent=1) + "\n")
    show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
