"""What all candidates of an exploration of a network of blocks share, and how one is made."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bitspike.block import ImageInput, blocks_of
from bitspike.block.base import in_mode
from bitspike.block.quantize import foreign_modules
from bitspike.block.spec_of import LayerState, layer_states, spec_of
from bitspike.drawing import check_draw, drawn_batches
from bitspike.explore.evaluate import MARGIN, Hopeless, Rival, kept_in, seed_of
from bitspike.explore.numbers import numbers_of
from bitspike.explore.space import Candidate, Choices, Space
from bitspike.locking import FolderInUse
from bitspike.lowering import DeadZoneWarning, lower, trace
from bitspike.measuring import measure
from bitspike.model import create_model
from bitspike.prune import prune_, remove_
from bitspike.prune.removal import removed_from
from bitspike.ptq import SpecChange, calibrate_
from bitspike.ptq.calibrate import wanted_specs
from bitspike.ptq.ranges import Potentials, observed_potentials
from bitspike.runtime import certify
from bitspike.spec import QuantSpec
from bitspike.train import Recipe, evaluate, train
from bitspike.train.config import DataConfig, ModelConfig, TrainConfig
from bitspike.train.container import network_digest, weights_digest

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.runtime import IntegerNet


@dataclass(frozen=True)
class Setting:
    """What all candidates of an exploration share.

    net: the float network, in eval state; training: the split it learned from, without the validation samples;
    validation: what candidates are compared on; calibration: how many samples calibrate, in batches of so many;
    recipe: how candidates that train are trained, with `training_and_validation` split as it says.
    """

    net: nn.Module
    space: Space
    training: Dataset
    validation: Dataset
    objectives: tuple[str, ...] = ("accuracy", "memory")
    calibration: tuple[int, int] = (4, 128)
    seed: int = 0
    recipe: Recipe | None = None
    folder: Path | None = None
    statistics: bool = True

    def __post_init__(self) -> None:
        if foreign := foreign_modules(self.net):
            raise ValueError(
                f"explore: the network has modules that are no blocks, {', '.join(foreign)}; see bitspike import"
            )
        check_draw(self.net, self.training, *self.calibration, "explore")

    @cached_property
    def batches(self) -> list[Tensor]:
        """The samples that calibrate, the same for all candidates."""
        count, size = self.calibration
        return list(drawn_batches(self.training, count, size, self.seed))

    @cached_property
    def potentials(self) -> Potentials:
        """Those of the float network."""
        return observed_potentials(self.net, self.batches)

    @cached_property
    def states(self) -> dict[str, LayerState]:
        """The float network's layers."""
        return layer_states(self.net)

    def seed_of(self, number: int, purpose: str) -> int:
        """A 32-bit seed for one purpose of one candidate."""
        return seed_of(self.seed, number, purpose)

    def meaning(self, choices: Choices) -> str:
        """What choices come to, layer by layer."""
        candidate = self.space.candidate(choices)
        candidate.change.refuse_unmatched(self.states)
        layers = {}
        for name, state in self.states.items():
            wanted = candidate.change.apply(name, state.layer, end=state.end)
            layer = wanted.layer
            if layer.weight.is_float or (state.spiking and layer.membrane.is_float):
                table = "membrane" if not layer.weight.is_float else "ends" if state.end else "weight"
                raise ValueError(
                    f"{name} would keep {'a membrane' if table == 'membrane' else 'weights'} of 32 bits, which has no "
                    f"integer form; give values of {table}.bits, or a base such as 8w8u"
                )
            layers[name] = str(wanted) if state.spiking else str(replace(wanted.layer.weight, per="layer"))
        return json.dumps([candidate.scheme, candidate.prune, layers])

    def baseline(self) -> dict[str, Any]:
        """The float network."""
        accuracy = evaluate(self.net, self.validation, batch=256).accuracy
        return {"accuracy": accuracy, "memory": measure(self.net).float_memory.total}

    def identity(self) -> dict[str, Any]:
        """Network, data, and how candidates are made."""
        layers = [
            [step.name, repr(step.block), _plain(step.block), step.sources, step.shape] for step in trace(self.net)
        ]
        return {
            "network": weights_digest(dict(self.net.state_dict()), layers=layers),
            "quant": spec_of(self.net).to_dict(),
            "training data": self.training.fingerprint,
            "validation data": self.validation.fingerprint,
            "calibration": list(self.calibration),
            "statistics": self.statistics,
            "train": self.recipe.training_dict() if self.recipe is not None else None,
        }

    def make(self, number: int, choices: Choices, rivals: Sequence[Rival] | None = None) -> Made:
        """Prune, quantize and, where the scheme says so, train."""
        return _made(self, number, self.space.candidate(choices), rivals)

    def numbers(self, made: Made, data: Dataset, objectives: Sequence[str] = ()) -> dict[str, Any]:
        """Of the integer network."""
        return numbers_of(made.integers, data, objectives)

    def again(self, further: int) -> Setting:
        """The same with another seed; what it trains is kept beside that of the first."""
        folder = None if self.folder is None else self.folder / f"seed-{further}"
        return replace(self, seed=self.seed + further, folder=folder)

    def certified(self, made: Made, data: Dataset, samples: int) -> Made:
        """With a certificate: reference, engine and, where there is a compiler, exported C are equal."""
        found = certify(made.integers, data, count=min(samples, len(data)))
        about = replace(made.integers.about, certificate=found.to_dict())
        return replace(made, integers=replace(made.integers, about=about))

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs; it finds samples and potentials itself."""
        return {item: value for item, value in self.__dict__.items() if item in self.__dataclass_fields__}


@dataclass(frozen=True)
class Made:
    """A candidate's network: quantized, in eval state, and as integers; how it came about."""

    net: nn.Module
    integers: IntegerNet
    quant: QuantSpec
    seed: int
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What its row says of how it is quantized."""
        return {"quant": self.quant.to_dict(), "seed": self.seed}

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What was compared, once it was."""
        return self.integers.about.certificate


def _made(setting: Setting, number: int, candidate: Candidate, rivals: Sequence[Rival] | None) -> Made:
    net = _start(setting, number, candidate)
    details: dict[str, Any] = {}
    potentials: Potentials | None = None
    if candidate.prune:
        count, size = setting.calibration
        report = prune_(net, setting.training, ratios=candidate.prune, batches=count, batch=size, seed=setting.seed)
        details["channels"] = {layer.name: layer.after for layer in report.layers}
    elif candidate.scheme != "itq-scratch" and _finds_ranges(net, candidate.change):
        potentials = setting.potentials
    change = seeded(candidate.change, setting.seed_of(number, "quantization"))
    found = calibrate_(net, change, setting.batches, statistics=setting.statistics, potentials=potentials)
    if candidate.trains:
        details["history"] = _train(setting, number, net, found.spec, rivals)
    if found.ranges:
        details["ranges"] = found.ranges
    return Made(net.eval(), _integers(net), spec_of(net), setting.seed_of(number, "quantization"), details)


def _integers(net: nn.Module) -> IntegerNet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadZoneWarning)  # in the notes of the network that is chosen
        return lower(net)


def _start(setting: Setting, number: int, candidate: Candidate) -> nn.Module:
    if candidate.scheme != "itq-scratch":
        return copy.deepcopy(setting.net)
    name = str(getattr(setting.net, "model_name", ""))
    options: Any = getattr(setting.net, "model_options", {})
    if not name:
        raise ValueError("itq-scratch needs a network of the registry, that can be built anew; use itq or ptq")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed_of(number, "weights"))
        made = create_model(name, **{**options, "spec": spec_of(setting.net)})
    if pruned := removed_from(setting.net):
        remove_(made, pruned)
    return made


def seeded(change: SpecChange, seed: int) -> SpecChange:
    """The change with a seed for what is rounded stochastically, unless it names one."""

    def table(given: Mapping[str, Any]) -> dict[str, Any]:
        draws = given.get("rounding") == "stochastic" and "seed" not in given
        return {**given, "seed": seed} if draws else dict(given)

    overrides = {
        pattern: {part: table(values) for part, values in tables.items()}
        for pattern, tables in change.overrides.items()
    }
    return replace(
        change,
        weight=table(change.weight),
        membrane=table(change.membrane),
        ends=table(change.ends),
        overrides=overrides,
    )


def _finds_ranges(net: nn.Module, change: SpecChange) -> bool:
    return any(item.range for item in wanted_specs(net, change).values())


def time_steps_of(net: nn.Module, data: Dataset) -> int:
    """For how many time steps a network sees a sample of this data."""
    shown = [block.time_steps for _, block in blocks_of(net) if isinstance(block, ImageInput)]
    return data.time_steps or (shown[0] if shown else 1)


def default_recipe(data: Dataset, time_steps: int) -> Recipe:
    """How candidates are trained on where nothing is said: five epochs at a low rate."""
    shown = DataConfig(data.name, time_steps, validation=0)
    return Recipe("exploration", ModelConfig("network"), shown, train=TrainConfig(epochs=5, batch=128, lr=5e-4))


def _train(
    setting: Setting, number: int, net: nn.Module, quant: QuantSpec, rivals: Sequence[Rival] | None
) -> list[float]:
    """Train a quantized network; the accuracy on the validation samples after every epoch."""
    if setting.recipe is None:
        raise ValueError("a candidate that trains needs a recipe; give explore(train=...)")
    recipe = replace(
        setting.recipe,
        quant=quant,
        train=replace(setting.recipe.train, seed=setting.seed_of(number, "training"), validate_every=0),
        data=replace(setting.recipe.data, validation=0.0),
        prune=None,
        finetune=None,
        start="",
    )
    history: list[float] = []

    def after_epoch(_: Mapping[str, Any]) -> None:
        if rivals is None:
            return
        with in_mode(net, training=False), torch.no_grad():
            numbers = numbers_of(_integers(net), setting.validation, ())
        memory = numbers["memory"]
        history.append(numbers["accuracy"])
        at = len(history) - 1
        reached = [rival.history[at] for rival in rivals if rival.memory <= memory and len(rival.history) > at]
        if reached and history[at] < max(reached) - MARGIN:
            raise Hopeless(history, memory)

    place = kept_in(setting.folder, number, network_digest(net), quant.to_dict(), setting.training.fingerprint)
    in_place = partial(
        train,
        net,
        setting.training,
        recipe,
        resume=rivals is None,  # or a killed training would go on without the accuracies before
        device="cpu",
        show_progress=False,
        on_epoch=after_epoch,
    )
    try:
        in_place(out=place)
    except FolderInUse:  # of one that was silent for so long that its candidate was given away, and lives
        in_place(out=None)
    return history


_PASSING = ("training", "progress", "stream", "label", "in_real_form")
"""What a block has for a while only, such as how far its training is."""


def _plain(block: nn.Module) -> dict[str, str]:
    """What a block was made with, besides its weights: strides, time steps, scales."""
    return {
        name: repr(value)
        for name, value in vars(block).items()
        if isinstance(value, int | float | str | tuple) and not name.startswith("_") and name not in _PASSING
    }
