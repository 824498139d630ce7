"""One run of the unsupervised network: learned, labelled, evaluated, written down as a row."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _study.runs import ROOT
from bitspike._version import __version__
from bitspike.data import load
from bitspike.runtime.machine import processor
from bitspike.stdp import StdpBits, StdpRecipe, evaluate, quantized, save, train_stdp
from bitspike.stdp import load as load_network
from bitspike.stdp.cost import describe
from bitspike.stdp.recipe import apply_setting, list_stdp_recipes, read_table
from bitspike.train.provenance import git_commit


@dataclass(frozen=True)
class StdpRun:
    """One run of a study, as StudyRun is for trained networks.

    quantize: settings of bits, NAME=VALUE, that the float network gets after its training (PTQ); () leaves it alone.
    """

    table: str
    data: str
    row: str
    seed: int
    recipe: str
    changes: tuple[str, ...] = ()
    quantize: tuple[str, ...] = ()
    model: str = ""

    @property
    def name(self) -> str:
        """What its folder is called."""
        words = [self.table, self.data, *self.row.split(), f"seed{self.seed}"]
        return "-".join(word for word in words if word != "main")

    def read(self) -> StdpRecipe:
        """The recipe with the run's changes."""
        tables = read_table(list_stdp_recipes()[self.recipe])
        for change in (f'stdp.data="{self.data}"', *self.changes, f"network.seed={self.seed}"):
            apply_setting(tables, change)
        return StdpRecipe.from_table(tables)

    def bits(self) -> StdpBits | None:
        """What the float network is quantized to."""
        if not self.quantize:
            return None
        tables: dict[str, Any] = {}
        for setting in self.quantize:
            apply_setting(tables, f"bits.{setting}")
        return StdpBits(**tables["bits"])

    def settings(self) -> dict[str, Any]:
        """All that its figures depend on, as plain data."""
        plain = asdict(self) | {"changes": list(self.changes), "quantize": list(self.quantize)}
        plain.pop("model")
        text = json.dumps(self.read().to_dict(), sort_keys=True)
        return plain | {"digest": hashlib.sha256(text.encode()).hexdigest()[:16]}


def execute(run: StdpRun, folder: Path) -> dict[str, Any]:
    """Train in `folder`, or go on there; the row's figures."""
    recipe = run.read()
    data, test = load(recipe.data, "train"), load(recipe.data, "test")
    bits = run.bits()
    # Networks that differ in what happens behind their training share it.
    place = folder if bits is None else folder.parent / f"trained-{run.data}-seed{run.seed}-{_digest(recipe)}"
    result = train_stdp(recipe, data, test=None if bits else test, out=place)
    network = result.network
    if bits is not None:
        network = quantized(network, bits)
        network.assign_labels(data.inputs.reshape(len(data), -1), data.labels, data.classes)
    found = evaluate(network, test)
    if run.model:
        save(load_network(folder / "model.bsp"), ROOT / "models" / "stdp" / f"{run.model}.bsp")
    cost = describe(network)
    labels = network.labels
    return {
        "accuracy": found.accuracy,
        "all_activity": found.accuracies["all-activity"],
        "samples": found.samples,
        "form": "float" if network.config.bits is None else "integer",
        "spikes_per_image": round(found.spikes, 2),
        "silent_neurons": 0 if labels is None else labels.silent_neurons,
        "missing_classes": [] if labels is None else labels.missing_classes,
        "passes": recipe.passes,
        "training_images": len(data) - recipe.validation,
        "cpu_seconds": round(result.results["cpu_seconds"], 1),
        "memory": cost.memory.total,
        "float_memory": cost.float_memory.total,
        "memory_ratio": round(cost.float_memory.total / cost.memory.total, 3),
        "processor": processor(),
        "engine": network.engine,
        "versions": {"bitspike": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "commit": git_commit(),
        "data_fingerprint": data.fingerprint,
    }


def _digest(recipe: StdpRecipe) -> str:
    return hashlib.sha256(json.dumps(recipe.to_dict(), sort_keys=True).encode()).hexdigest()[:8]
