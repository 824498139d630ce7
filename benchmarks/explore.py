"""How fast candidates of an exploration are evaluated: on the engine, beside fake quantization in PyTorch.

    .venv/bin/python benchmarks/explore.py --quick          about a minute
    .venv/bin/python benchmarks/explore.py --json           some minutes; the last line is one JSON object

Both do all of it: quantize, calibrate on 512 samples, classify 10,000. One thread, CPU time; they take turns,
candidate by candidate. Then the same exploration with 1, 2 and 4 processes, by wall time: of use on a quiet machine
only, and never a headline. See README.md.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent))

from _exploring.fake_quant import FakeQuantNet, evaluate_fake
from _inference import samples as made_up
from _shared.machine import machine
from _shared.program import Clock, finish
from _shared.rows import as_table, value_row

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "models" / "float" / "fashion-float.safetensors"
CASE, PEER = "fashion PTQ candidates", "torch-fake-quant"
SAMPLES = 10_000
SPACE = {"weight.bits": [1, 2, 3, 4, 8], "membrane.bits": [2, 3, 4, 8], "ends.bits": [2, 3, 4, 8]}


def main() -> int:
    """Measure, print, write."""
    given = _arguments()
    clock = Clock()

    import torch

    from bitspike.allocation import keep_freed_memory
    from bitspike.explore.evaluate import evaluate_candidate
    from bitspike.explore.setting import Setting
    from bitspike.explore.space import Space
    from bitspike.train import load_model

    torch.set_num_threads(1)
    keep_freed_memory()  # for both: it is what makes large batches fast in torch
    result: dict[str, Any] = {"benchmark": "explore", "quick": given.quick, "machine": machine()}
    net, _ = load_model(MODEL)
    training, validation, note = _data(SAMPLES)
    setting = Setting(net, Space(SPACE), training, validation)
    entry: Any = net.input
    peer = FakeQuantNet(dict(net.state_dict()), entry.time_steps, entry.zero_point[0] / 255, 1 / (255 * entry.scale))
    candidates = random.Random(0).sample(list(setting.space), 3 if given.quick else 12)
    times: dict[str, list[float]] = {"ours": [], PEER: []}
    told = []
    for number, choices in enumerate(candidates):
        weight, membrane, ends = (choices[name] for name in SPACE)

        def theirs(bits: tuple[int, int, int] = (weight, membrane, ends)) -> float:
            return evaluate_fake(peer, *bits, setting.batches, validation.batches(256))

        def ours(number: int = number, choices: dict[str, Any] = choices) -> float:
            return float(evaluate_candidate(setting, number, choices)["accuracy"])

        runs: list[tuple[str, Callable[[], float]]] = [("ours", ours), (PEER, theirs)]
        accuracy = {}
        for name, run in runs if number % 2 else runs[::-1]:
            began = time.process_time()
            accuracy[name] = run()
            times[name].append(time.process_time() - began)
        told.append({"choices": choices, "accuracy": accuracy, "seconds": {name: times[name][-1] for name in times}})
        clock.say(f"{number + 1} of {len(candidates)}: {times['ours'][-1]:.2f} s, {PEER} {times[PEER][-1]:.2f} s")
    rates = {name: statistics.median(found) for name, found in times.items()}
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times[PEER], strict=True)]
    row = value_row(
        CASE,
        PEER,
        rates["ours"],
        rates[PEER],
        "s",
        runs=len(candidates),
        headline=True,
        clock="cpu",
        note=note,
        ratio_lowest=round(min(ratios), 3),
        ratio_highest=round(max(ratios), 3),
        samples=SAMPLES,
        per_minute=round(60 / rates["ours"], 1),
        peer_per_minute=round(60 / rates[PEER], 2),
    )
    rows = [row, *scaling_rows(net, training, validation, 8 if given.quick else 24, clock)]
    result |= {"missing": [], "rows": rows, "candidates": told, "seconds": clock.seconds}
    print(as_table(result["rows"]))
    print(f"candidates per minute of one core: {row['per_minute']}, {PEER} {row['peer_per_minute']}; {note}")
    finish(result, given)
    return 0


def scaling_rows(net: Any, training: Any, validation: Any, count: int, clock: Clock) -> list[dict[str, Any]]:
    """Wall time of one exploration with more processes; efficiency is the speedup for each of them.

    The tables must be equal, but for times. Starting a process takes some seconds, which a short exploration feels.
    """
    from bitspike.explore import explore

    space = {"weight.bits": [2, 3, 4], "membrane.bits": [2, 4], "ends.bits": [4, 8], "weight.scale": ["abs_max", "mse"]}
    seconds: dict[int, float] = {}
    tables = []
    for workers in (1, 2, 4):
        began = time.perf_counter()
        found = explore(
            net,
            training,
            space,
            validation=validation,
            sampler="random",
            trials=count,
            generation=count,
            workers=workers,
        )
        seconds[workers] = time.perf_counter() - began
        tables.append([{key: value for key, value in row.to_dict().items() if key != "seconds"} for row in found.rows])
        clock.say(f"{count} candidates with {workers} processes: {seconds[workers]:.1f} s")
    if any(table != tables[0] for table in tables):
        raise SystemExit("explore.py: the tables of 1, 2 and 4 processes differ")
    return [
        value_row(
            f"{count} candidates, {workers} processes",
            "one process",
            seconds[workers],
            seconds[1],
            "s",
            runs=1,
            headline=False,
            clock="wall",
            cores=os.cpu_count(),
            efficiency=round(seconds[1] / seconds[workers] / workers, 3),
        )
        for workers in (2, 4)
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three candidates instead of twelve")
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    return parser.parse_args()


def _data(count: int) -> tuple[Any, Any, str]:
    """Fashion-MNIST where it lies, else made-up images: calibration and classification take the same time."""
    import numpy as np

    from bitspike.data import Dataset, load

    try:
        whole = load("fashion-mnist", "train")
        return whole.subset(slice(count, count + 5000)), whole.subset(slice(0, count)), "Fashion-MNIST training images"
    except FileNotFoundError:
        pixels = made_up.images(2000, (1, 28, 28))[:, 0]
        pixels = np.concatenate([pixels] * (-(-count // len(pixels))))[:count]
        labels = np.arange(count, dtype=np.int64) % 10
        data = Dataset("made-up", "train", pixels, labels, 10, mean=(0.5,), std=0.25)
        return data.subset(slice(0, 5000)), data, "made-up images, so accuracies mean nothing"


if __name__ == "__main__":
    sys.exit(main())
