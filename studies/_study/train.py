"""One run of a study: a recipe with changes, trained, evaluated as integers, written down as a row."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from _study.runs import ROOT, StudyRun, read
from bitspike.data import Dataset
from bitspike.runtime.machine import processor
from bitspike.train import Recipe
from bitspike.train.from_recipe import load_data, train_on


def execute(run: StudyRun, folder: Path) -> dict[str, Any]:
    """Train in `folder`, or go on there; the row's figures."""
    recipe = read(run)
    data, test = _splits(run, recipe)
    result = train_on(recipe, data, test=test, out=folder)
    if run.model:
        _keep_model(folder, run.model)
    provenance, found = result.header.provenance, result.results
    row = {
        "accuracy": found["test_accuracy"],
        "samples": found["test_samples"],
        "form": "float" if recipe.quant.weight.is_float else "integer",
        "validation_accuracy": found.get("validation_accuracy"),
        "firing_rates": {name: round(rate, 4) for name, rate in found["firing_rates"].items()},
        "epochs": recipe.train.epochs,
        "training_images": len(data),
        "seconds": round(result.seconds, 1),
        "precision": provenance["precision"],
        "processor": processor(),
        "versions": provenance["versions"],
        "commit": provenance["commit"],
        "data_fingerprint": provenance["identity"]["data"]["fingerprint"],
    }
    if "pruning" in found:
        before, pruning = found["before_pruning"], found["pruning"]
        row["before_pruning"] = {key: before.get(key) for key in ("test_accuracy", "validation_accuracy")}
        row["channels"] = {layer["name"]: [layer["before"], layer["after"]] for layer in pruning["layers"]}
        row |= {key: pruning[key] for key in pruning if key.endswith(("_before", "_after"))}
    return row


def train_first_stage(run: StudyRun, folder: Path) -> None:
    """Train, in `folder`, the network that the run would prune."""
    recipe = replace(read(run), prune=None, finetune=None)
    data, test = _splits(run, recipe)
    train_on(recipe, data, test=test, out=folder)


def _splits(run: StudyRun, recipe: Recipe) -> tuple[Dataset, Dataset]:
    """What the run learns from, and what it is tested on."""
    data = load_data(recipe, "train")
    if run.images is not None:
        data = data.subset(np.random.default_rng(0).permutation(len(data))[: run.images])
    return data, load_data(recipe, "test")


def _keep_model(folder: Path, name: str) -> None:
    """The integer file that anyone can evaluate again."""
    command = [sys.executable, "-m", "bitspike", "lower", str(folder), "--out", str(ROOT / "models" / f"{name}.bsp")]
    subprocess.run(command, check=True, capture_output=True)
