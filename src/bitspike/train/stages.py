"""Recipes of more than one stage: further training of a network that is there, and training, pruning, fine-tuning.

Every stage goes on by itself where it was stopped. What the run wrote down of its channels decides which go the second
time: scores would have to come out the same to the last bit, perhaps on another machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.block import quantize_
from bitspike.data import Dataset, split_validation
from bitspike.drawing import check_draw
from bitspike.prune import PruneReport, list_criteria, prunable_channels, prune_, removed_from
from bitspike.prune.criteria import find_criterion
from bitspike.prune.pruning import keep_
from bitspike.ptq.calibrate import keeping_neurons
from bitspike.spec import QuantSpec
from bitspike.train.checkpoint import refuse_other_run, stored_identity
from bitspike.train.config import PruneConfig, Recipe
from bitspike.train.container import network_digest
from bitspike.train.distributed import is_first
from bitspike.train.model_file import MODEL_FILE, ModelHeader, find_model_file, load_model, read_header
from bitspike.train.run import (
    STATE_FILE,
    Origin,
    TrainResult,
    choose_device,
    refuse_own_file,
    remove_files,
    run_identity,
    train,
)

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

    The network before pruning ends up in the folder `trained` of the run's.
    """
    if recipe.start and out is not None:
        refuse_own_file("start", find_model_file(recipe.start, "start"), Path(out))
    started = _opened(recipe) if recipe.start else None
    if started is not None:
        recipe = replace(recipe, quant=keeping_neurons(started.net, recipe.quant))
    last = recipe if recipe.finetune is None else replace(recipe, train=recipe.finetune)
    stored = None if out is None else _made_ready(Path(out), last, data, resume=options.get("resume", True))
    seen = data
    if recipe.data.validation:
        seen, _ = split_validation(data, recipe.data.validation, seed=recipe.data.split_seed)
    if started is not None:
        before = started
        before.net.to(choose_device(options.get("device", "auto")))  # where its channels are scored
    else:
        first = replace(recipe, prune=None, finetune=None)
        if recipe.prune is not None and recipe.prune.quantize == "after":
            first = replace(first, quant=QuantSpec())
        if recipe.prune is not None:
            _refuse_early(build(first), recipe.prune, seen)  # at the bits of the network that will be pruned
        folder = None if out is None else Path(out) / FIRST_STAGE
        trained = train(build(first), data, first, out=folder, **options)
        before = _Stage(trained.net, trained.header)
    origin = Origin(recipe, {"weights": network_digest(before.net)}, before.header.provenance)
    if recipe.prune is not None:
        known = stored is not None and stored.get("origin") == origin.identity
        report = (
            keep_(before.net, _kept(before.net, stored.get("pruned", {})))
            if known and stored is not None
            else _pruned(before, recipe.prune, recipe.train.seed, seen)
        )
        how = {"criterion": recipe.prune.criterion, "seed": recipe.train.seed}
        how |= {"batches": recipe.prune.batches, "batch": recipe.prune.batch}
        earlier = {key: value for key, value in before.header.results.items() if key != "history"}
        origin.results.update({"before_pruning": earlier, "pruning": report.to_dict() | how})
    quantize_(before.net, last.quant)
    return train(before.net, data, last, out=out, origin=origin, **options)


def _opened(recipe: Recipe) -> _Stage:
    """The network that the recipe starts with."""
    file = find_model_file(recipe.start, "start")
    net, header = load_model(file)
    for key, value in recipe.to_dict()["model"]["options"].items():
        there = header.options.get(key, value)
        if header.model == recipe.model.name and there != value:
            raise ValueError(
                f"start: {file} was made with {key} = {there!r}, but model.options.{key} is {value!r}; make them equal"
            )
    if header.model != recipe.model.name:
        there = header.model or "network that is not in the registry"
        raise ValueError(f"start: {file} holds a {there}, but model.name is {recipe.model.name}; make them equal")
    return _Stage(net.train(), header)


def _made_ready(folder: Path, last: Recipe, data: Dataset, *, resume: bool) -> dict[str, Any] | None:
    """The identity of the last stage that the folder holds, if any; another run's is refused before any training.

    To start over, that stage goes first: else the folder would hold the old end of a new beginning.
    """
    if not resume:
        if is_first():
            remove_files(folder / MODEL_FILE, folder / STATE_FILE)
        return None
    if (folder / MODEL_FILE).is_file():
        stored = read_header(folder / MODEL_FILE).provenance.get("identity", {})
    elif (folder / STATE_FILE).is_file():
        stored = stored_identity(folder / STATE_FILE)
    else:
        return None
    known = run_identity(last, data)
    refuse_other_run(folder, {key: stored.get(key) for key in known}, known)
    return dict(stored)


def _kept(net: nn.Module, pruned: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """The channels that stay, numbered as in this network, which may have been pruned before."""
    earlier = removed_from(net)
    numbering = {name: earlier.get(name, range(count)) for name, count in prunable_channels(net).items()}
    return {name: [numbering[name].index(channel) for channel in stay] for name, stay in pruned.items()}


def _refuse_early(net: nn.Module, config: PruneConfig, data: Dataset) -> None:
    """Try the pruning on a network that is not trained yet, channels in any order, rather than refuse it afterwards."""
    if config.criterion not in list_criteria():
        raise ValueError(f"prune.criterion is {config.criterion!r}; allowed: {', '.join(list_criteria())}")
    orders = {name: range(count) for name, count in prunable_channels(net).items()}
    prune_(
        net,
        ratios=config.ratios,
        target=config.target,
        protect=config.protect,
        keep_at_least=config.keep_at_least,
        multiple_of=config.multiple_of,
        orders=orders,
    )
    if find_criterion(config.criterion).of_run is not None:
        check_draw(net, data, config.batches, config.batch, "prune")


def _pruned(stage: _Stage, config: PruneConfig, seed: int, data: Dataset) -> PruneReport:
    """Score the stage's network and prune it."""
    report = prune_(
        stage.net,
        data,
        ratios=config.ratios,
        target=config.target,
        criterion=config.criterion,
        protect=config.protect,
        keep_at_least=config.keep_at_least,
        multiple_of=config.multiple_of,
        batches=config.batches,
        batch=config.batch,
        seed=seed,
    )
    log.info("pruned from %s to %s parameters", f"{report.parameters_before:,}", f"{report.parameters_after:,}")
    return report
