"""Recipes of more than one stage: further training of a network that is there, and training, pruning, fine-tuning."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.block import quantize_
from bitspike.data import Dataset, split_validation
from bitspike.prune import list_criteria, prunable_channels, prune_
from bitspike.spec import QuantSpec
from bitspike.train.config import PruneConfig, Recipe
from bitspike.train.container import weights_digest
from bitspike.train.model_file import ModelHeader, find_model_file, load_model
from bitspike.train.run import Origin, TrainResult, train

FIRST_STAGE = "trained"
"""Folder, in that of the run, of the network before pruning."""

log = logging.getLogger("bitspike.train")


@dataclass(frozen=True)
class _Stage:
    """A network to go on with, and what is known about it."""

    net: nn.Module
    header: ModelHeader


def train_in_stages(
    recipe: Recipe,
    build: Callable[[Recipe], nn.Module],
    data: Dataset,
    *,
    out: str | Path | None = None,
    **options: Any,
) -> TrainResult:
    """Do a recipe with a start, or with pruning; `build` makes its network with fresh weights.

    The network before pruning ends up in the folder `trained` of the run's. Every stage goes on by itself where it was
    stopped: scores depend on weights and seed alone, so the channels that go are the same the second time.
    """
    if recipe.start:
        before = _opened(recipe)
    else:
        if recipe.prune is not None:
            _refuse_early(build(recipe), recipe.prune)
        first = replace(recipe, prune=None, finetune=None)
        if recipe.prune is not None and recipe.prune.quantize == "after":
            first = replace(first, quant=QuantSpec())
        folder = None if out is None else Path(out) / FIRST_STAGE
        trained = train(build(first), data, first, out=folder, **options)
        before = _Stage(trained.net, trained.header)
    origin = Origin(recipe, {"weights": _fingerprint(before.net)}, before.header.provenance)
    last = recipe if recipe.finetune is None else replace(recipe, train=recipe.finetune)
    if recipe.prune is not None:
        seen = data
        if recipe.data.validation:
            seen, _ = split_validation(data, recipe.data.validation, seed=recipe.data.split_seed)
        origin.results.update(_pruned(before, recipe.prune, recipe.train.seed, seen))
    quantize_(before.net, recipe.quant)
    return train(before.net, data, last, out=out, origin=origin, **options)


def _opened(recipe: Recipe) -> _Stage:
    """The network that the recipe starts with."""
    file = find_model_file(recipe.start, "start")
    net, header = load_model(file)
    if header.model != recipe.model.name:
        there = header.model or "network that is not in the registry"
        raise ValueError(f"start: {file} holds a {there}, but model.name is {recipe.model.name}; make them equal")
    return _Stage(net.train(), header)


def _refuse_early(net: nn.Module, config: PruneConfig) -> None:
    """Try the pruning on a network that is not trained yet, channels in any order, rather than refuse it afterwards."""
    if config.criterion not in list_criteria():
        raise ValueError(f"prune.criterion is {config.criterion!r}; allowed: {', '.join(list_criteria())}")
    orders = {name: range(count) for name, count in prunable_channels(net).items()}
    prune_(net, ratios=config.ratios, target=config.target, protect=config.protect, orders=orders)


def _pruned(stage: _Stage, config: PruneConfig, seed: int, data: Dataset) -> dict[str, Any]:
    """Prune the stage's network; what is worth keeping of it."""
    report = prune_(
        stage.net,
        data,
        ratios=config.ratios,
        target=config.target,
        criterion=config.criterion,
        protect=config.protect,
        batches=config.batches,
        batch=config.batch,
        seed=seed,
    )
    before = {key: value for key, value in stage.header.results.items() if key != "history"}
    log.info("pruned from %s to %s parameters", f"{report.parameters_before:,}", f"{report.parameters_after:,}")
    return {"before_pruning": before, "pruning": report.to_dict()}


def _fingerprint(net: nn.Module) -> str:
    return weights_digest({name: value.cpu() for name, value in net.state_dict().items()})
