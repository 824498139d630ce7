"""QP-SNN on Fashion-MNIST, as integers: what rescaling and singular values are worth, and how far pruning can go.

    BITSPIKE_DATA=... OMP_NUM_THREADS=1 .venv/bin/python studies/qpsnn_tables.py

Goes on with the runs that are missing in results/qpsnn_tables.json; see studies/README.md.

The paper's ablation has a network for each of: A vanilla, B ReScaW, both unpruned; C vanilla + SCA, D ReScaW + SCA,
E vanilla + SVS, F ReScaW + SVS. A and B are the first stages of E and F, and what C and D are pruned from.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import qsnn_tables
from _study.program import work_or_list
from _study.runs import ROOT, Study, StudyRun, read
from _study.table import as_markdown, before_pruning, summary
from _study.train import execute, train_first_stage
from bitspike.train.model_file import MODEL_FILE
from bitspike.train.stages import FIRST_STAGE

DATA = "fashion-mnist"
RECIPE = "fashion-smallvgg-float"
SEEDS = (0, 1, 2)
IMAGES = 20_000

# A quarter of the operations of the recipe's network, so that the ablation fits a CPU; weights of 2 bits, one scale a
# layer as in the paper; the membrane of 8 bits stands for the paper's float one and leaves the network whole numbers.
SMALL = ("model.options.stages=[[16, 16], [32, 32], [64, 64]]", "train.epochs=12")
QUARTER = "prune.target={parameters = 0.25}"
PRUNED = (QUARTER, "finetune.epochs=6", "finetune.lr=1e-3")
LONGER = (QUARTER, "finetune.epochs=12", "finetune.lr=3e-3")
SCALES = {"vanilla": "unit", "ReScaW": "mean"}
_RUNS = Path("runs/qpsnn_tables")
_FLOAT_RUNS = Path("runs/qsnn_tables")
GAMMAS = ("mean", "abs_max", "percentile", "mse", "learned", "unit")


def _weights(scale: str, bits: int = 2, per: str = "layer") -> str:
    return f'quant={{bits = "{bits}w8u", weight = {{grid = "odd", scale = "{scale}", per = "{per}"}}}}'


def _ablation(scale: str, criterion: str, seed: int) -> StudyRun:
    changes = (*SMALL, _weights(SCALES[scale]), *PRUNED, f"prune.criterion={criterion}")
    if criterion != "svs":  # of the same trained network
        changes = (*changes, _first_stage_of_svs(scale, seed))
    return _named(scale, criterion, seed, changes)


def _longer(scale: str, criterion: str, seed: int) -> StudyRun:
    """The ablation once more, with a second stage that is twice as long and has three times the rate."""
    changes = (
        *SMALL,
        _weights(SCALES[scale]),
        *LONGER,
        f"prune.criterion={criterion}",
        _first_stage_of_svs(scale, seed),
    )
    return StudyRun("longer", DATA, f"{scale} {criterion}", seed, RECIPE, changes, IMAGES)


def _first_stage_of_svs(scale: str, seed: int) -> str:
    return f"start={_RUNS}/{_named(scale, 'svs', seed).name}/{FIRST_STAGE}"


def _named(scale: str, criterion: str, seed: int, changes: tuple[str, ...] = ()) -> StudyRun:
    return StudyRun("pruning", DATA, f"{scale} {criterion}", seed, RECIPE, changes, IMAGES)


def _execute(run: StudyRun, folder: Path) -> dict[str, Any]:
    """Like every run; the network that it starts from is trained again where its folder is gone."""
    start = Path(read(run).start)
    known = {_RUNS / other.name / FIRST_STAGE: other for other in runs()}
    known |= {_FLOAT_RUNS / other.name: other for other in qsnn_tables.runs()}
    first = known.get(start)
    if first is not None and not (start / MODEL_FILE).is_file():
        train_first_stage(first, start)
    return execute(run, folder)


def _gamma(scale: str, bits: int, seed: int) -> StudyRun:
    return StudyRun("gamma", DATA, f"{bits}w {scale}", seed, RECIPE, (*SMALL, _weights(scale, bits)), IMAGES)


def _order(criterion: str, seed: int) -> StudyRun:
    changes = (*SMALL, _weights("mean"), *PRUNED, f"prune.criterion={criterion}", "prune.quantize=after")
    return StudyRun("order", DATA, f"prune then quantize {criterion}", seed, RECIPE, changes, IMAGES)


def _cifar() -> StudyRun:
    """The float network beside Q-SNN's on CIFAR-10, pruned and then quantized."""
    changes = ('quant={bits = "2w4u", weight = {grid = "odd", scale = "mse"}}', *LONGER, "prune.criterion=sca")
    changes = (*changes, f"start={_FLOAT_RUNS}/cifar10-32w32u-seed0")
    return StudyRun(
        "main", "cifar10", "2w4u quarter", 0, "cifar10-smallvgg-float", changes, model="qpsnn-cifar10-smallvgg-2w"
    )


def runs() -> list[StudyRun]:
    """All runs, the most wanted first."""
    pruning = [_ablation(scale, criterion, seed) for seed in SEEDS for criterion in ("svs", "sca") for scale in SCALES]
    longer = [_longer(scale, criterion, seed) for seed in SEEDS for criterion in ("svs", "sca") for scale in SCALES]
    whole = [
        StudyRun("main", DATA, "2w4u quarter", 0, "qpsnn-fashion-2w", model="qpsnn-fashion-2w"),
        StudyRun("main", DATA, "32w32u", 0, RECIPE),
        _cifar(),
    ]
    order = [_order(criterion, seed) for seed in SEEDS for criterion in ("svs", "sca")]
    gamma = [_gamma(scale, bits, seed) for bits in (2, 4, 8) for seed in SEEDS for scale in GAMMAS]
    return pruning + whole + longer + order + gamma


def main() -> int:
    """Work, or tell what there is."""
    study = Study("qpsnn_tables", runs())
    os.chdir(ROOT)  # some runs start from the folders of others
    if not work_or_list(study, _execute, __doc__):
        return 0
    rows = study.rows()
    for title, lines, against in (
        ("pruned to a quarter", summary(rows, "pruning", DATA), "ReScaW svs"),
        ("the same before pruning", summary(before_pruning(rows), "pruning", DATA), "ReScaW svs"),
        ("pruned to a quarter, longer second stage", summary(rows, "longer", DATA), "ReScaW svs"),
        ("order", summary(rows, "order", DATA), ""),
        ("gamma, not pruned", summary(rows, "gamma", DATA), "2w mean"),
        ("whole training split", summary(rows, "main", DATA), "32w32u"),
        ("the same, CIFAR-10", summary(rows, "main", "cifar10"), ""),
    ):
        if lines:
            print(f"\n{title}\n")
            print(as_markdown(lines, against))
    return 0


if __name__ == "__main__":
    sys.exit(main())
