"""A network before and after pruning, both firing alike in every layer; made once and kept under build/."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from _inference import calibrate, networks, samples
from _inference.cases import FOLDER, SOURCES, Case, Prepared, as_batch, digest_of, lowered, measured
from _shared.environment import ROOT
from bitspike.integer.graph import Graph
from bitspike.measuring import measure
from bitspike.prune import prune_
from bitspike.runtime import IntegerNet

SHARE = 0.25
"""Of the dense operations, what pruning leaves."""
RATE = 0.10
SPEC = {"bits": "2w4u", "weight": {"grid": "odd", "scale": "mean"}}
UNPRUNED = "unpruned"
TIME_STEPS = 2
IMAGES = 4
_OWN = (Path(__file__), *(ROOT / "src" / "bitspike" / "prune").glob("*.py"))


@dataclass(frozen=True)
class Subject:
    """A registered model and the images it sees."""

    model: str
    input_shape: tuple[int, int, int]

    @property
    def case(self) -> str:
        """The rows' name, as the goals spell it."""
        return f"{self.model} T={TIME_STEPS} B=1 pruned to a quarter of the operations"


SUBJECTS = (Subject("small_vgg", (1, 28, 28)), Subject("resnet20", (3, 32, 32)))


@dataclass(frozen=True)
class Pair:
    """A network whole and pruned, and what `prune_` and `measure` say of both."""

    subject: Subject
    before: Prepared
    after: Prepared
    facts: dict[str, Any]


def prepare(subject: Subject, say: Callable[[str], None]) -> Pair:
    """Random weights, pruned by magnitude; then the thresholds of both are moved until every layer fires at RATE.

    So the two differ in channels and in nothing else that a speed depends on. What pruning does to a trained network's
    rates, and what fine-tuning then makes of them, is left out on purpose.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    images = samples.images(IMAGES, subject.input_shape)
    cases = {part: Case(f"{subject.model} {part}", subject.model, TIME_STEPS, RATE) for part in (UNPRUNED, "pruned")}
    word = digest_of((*SOURCES, *_OWN), [subject.model, images.tobytes()])
    paths = {part: FOLDER / f"{case.slug}-{word}.bsp" for part, case in cases.items()}
    told = FOLDER / f"{cases['pruned'].slug}-{word}.json"
    if not (told.is_file() and all(path.is_file() for path in paths.values())):
        say(f"{subject.model}: pruning, setting firing rates (once, kept in {FOLDER.relative_to(ROOT)})")
        graphs, facts = make(subject.model, torch.from_numpy(as_batch(images)))
        for part, case in cases.items():
            for older in FOLDER.glob(f"{case.slug}-*"):
                older.unlink()
            IntegerNet(graphs[part]).save(paths[part])
        told.write_text(json.dumps(facts), encoding="utf-8")
    note = f"random weights, every layer calibrated to {RATE:g} on random 1/f images, before and after"
    before, after = (
        measured(case, IntegerNet.load(paths[part]).graph, images, note, paths[part]) for part, case in cases.items()
    )
    return Pair(subject, before, after, json.loads(told.read_text(encoding="utf-8")))


def make(model: str, batch: torch.Tensor, **options: Any) -> tuple[dict[str, Graph], dict[str, Any]]:
    """Both graphs by name, and plain data: channels by layer, and bytes, parameters and operations before and after."""
    whole = networks.random_net(model, batch, RATE, spec=SPEC, **options)
    small = copy.deepcopy(whole)
    report = prune_(small, target={"operations": SHARE}, criterion="magnitude")
    nets = {UNPRUNED: whole, "pruned": small}
    graphs = {part: calibrate.calibrated(lowered(net), batch.numpy(), RATE)[0] for part, net in nets.items()}
    dense = [measure(net).operations.dense for net in nets.values()]
    facts = report.to_dict() | {"operations_before": dense[0], "operations_after": dense[1]}
    return graphs, facts
