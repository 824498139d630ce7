"""Whether training on the kernels, and in bfloat16, ends where plain float32 training ends: Q-SNN on Fashion-MNIST.

    BITSPIKE_DATA=... OMP_NUM_THREADS=1 .venv/bin/python studies/precision_tables.py

Goes on with the runs that are missing in results/precision_tables.json; see studies/README.md. `bitspike train`
refuses bfloat16 on a processor without it, where it would be slower; here torch emulates it, for the numbers' sake.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _study.program import work_or_list
from _study.runs import Study, StudyRun
from _study.table import as_markdown, summary
from _study.train import execute
from bitspike.block import native
from bitspike.train import precision

DATA = "fashion-mnist"
PLAIN, KERNELS, HALF = "plain float32", "kernels float32", "kernels bfloat16"
NUMBERS = {PLAIN: "float32", KERNELS: "float32", HALF: "bfloat16"}
SEEDS = (0, 1, 2)
IMAGES = 10_000
EPOCHS = 8


def runs() -> list[StudyRun]:
    """One seed of all three before the next."""
    return [
        StudyRun(
            "precision",
            DATA,
            row,
            seed,
            "qsnn-fashion-1w2u",
            (f"train.epochs={EPOCHS}", f"train.precision={numbers}"),
            IMAGES,
        )
        for seed in SEEDS
        for row, numbers in NUMBERS.items()
    ]


@contextmanager
def _emulated_if_missing() -> Iterator[bool]:
    """Bfloat16 whatever the processor; whether it is emulated."""
    missing = precision.chosen_precision("auto", torch.device("cpu")) != "bfloat16"
    with mock.patch.object(precision, "has_bfloat16", lambda device: True):
        yield missing


def work(run: StudyRun, folder: Path) -> dict[str, Any]:
    """The run, in its numbers and with or without the kernels."""
    if run.row != PLAIN and not native.available():
        raise SystemExit("the engine's library is not built, so there are no kernels to train on")
    with native.plain() if run.row == PLAIN else nullcontext():
        if run.row != HALF:
            return execute(run, folder)
        with _emulated_if_missing() as emulated:
            return {**execute(run, folder), "emulated": emulated}


def main() -> int:
    """Work, or tell what there is."""
    study = Study("precision_tables", runs())
    if not work_or_list(study, work, __doc__):
        return 0
    lines = summary(study.rows(), "precision", DATA)
    if lines:
        print(f"\n{DATA}, {IMAGES:,} images, {EPOCHS} epochs\n")
        print(as_markdown(lines, PLAIN))
    return 0


if __name__ == "__main__":
    sys.exit(main())
