"""Q-SNN's tables on MNIST, Fashion-MNIST and CIFAR-10, as integers, and what each part of its method is worth.

    BITSPIKE_DATA=... OMP_NUM_THREADS=1 .venv/bin/python studies/qsnn_tables.py

Goes on with the runs that are missing in results/qsnn_tables.json; see studies/README.md. Headline rows come first.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _study.program import work_or_list
from _study.runs import Study, StudyRun
from _study.table import as_markdown, summary
from _study.train import execute

RECIPES = {
    "mnist": "qsnn-mnist-1w2u",
    "fashion-mnist": "qsnn-fashion-1w2u",
    "cifar10": "qsnn-cifar10-smallvgg-1w2u",
}
FLOATS = {"mnist": "mnist-float", "fashion-mnist": "fashion-float", "cifar10": "cifar10-smallvgg-float"}
MODELS = {"mnist": "qsnn-mnist", "fashion-mnist": "qsnn-fashion", "cifar10": "qsnn-cifar10-smallvgg"}
SEEDS = (0, 1, 2)

# One part of the method changed at a time, all else as in the recipe.
ABLATIONS: dict[str, tuple[str, ...]] = {
    "recipe": (),
    "no weight normalization": ("quant.weight.normalize=none",),
    "no spike loss": ("regulation.spike_loss=0",),
    "weights normalized and scaled per layer": ("quant.weight.normalize=layer", "quant.weight.per=layer"),
    "dynamic membrane of the paper": ("quant.membrane.form=dynamic",),
    "time-mean loss": ("train.loss=time-mean",),
    "clipped gradient of the sign": ("quant.weight.gradient=clipped",),
}
ABLATION_BUDGET = ("train.epochs=10",)
ABLATION_IMAGES = 20_000


def _main(data: str, row: str, seed: int) -> StudyRun:
    if row == "32w32u":
        return StudyRun("main", data, row, seed, FLOATS[data])
    model = f"{MODELS[data]}-{row}" if seed == 0 else ""
    changes = () if row == "1w2u" else (f"quant={row}",)
    return StudyRun("main", data, row, seed, RECIPES[data], changes, model=model)


def runs() -> list[StudyRun]:
    """All runs, the most wanted first."""
    headline = [_main(data, "1w2u", seed) for seed in SEEDS for data in ("fashion-mnist", "mnist")]
    floats = [_main(data, "32w32u", seed) for seed in SEEDS for data in ("fashion-mnist", "mnist")]
    colour = [_main("cifar10", row, 0) for row in ("1w2u", "32w32u")]
    wide = [_main(data, "1w8u", seed) for seed in SEEDS for data in ("fashion-mnist", "mnist")]
    others = [_main(data, row, 0) for row in ("1w4u", "2w2u", "4w4u") for data in ("fashion-mnist", "mnist")]
    ablations = [
        StudyRun(
            "ablation",
            "fashion-mnist",
            row,
            seed,
            RECIPES["fashion-mnist"],
            (*ABLATION_BUDGET, *changes),
            ABLATION_IMAGES,
        )
        for seed in SEEDS
        for row, changes in ABLATIONS.items()
    ]
    return headline + colour + floats + wide + others + ablations


def main() -> int:
    """Work, or tell what there is."""
    study = Study("qsnn_tables", runs())
    if not work_or_list(study, execute, __doc__):
        return 0
    for table, data, against in (
        ("main", "mnist", "32w32u"),
        ("main", "fashion-mnist", "32w32u"),
        ("main", "cifar10", "32w32u"),
        ("ablation", "fashion-mnist", "recipe"),
    ):
        lines = summary(study.rows(), table, data)
        if lines:
            print(f"\n{data}, {'the whole training split' if table == 'main' else f'{ABLATION_IMAGES:,} images'}\n")
            print(as_markdown(lines, against))
    return 0


if __name__ == "__main__":
    sys.exit(main())
