"""`train`: a network, data and a recipe become a trained network and its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitspike.allocation import keep_freed_memory
from bitspike.atomic import temporary_name
from bitspike.block import ImageInput
from bitspike.block.across import processes
from bitspike.block.spec_of import differing_layer
from bitspike.data import Dataset, split_validation
from bitspike.locking import own_folder
from bitspike.prune.removal import removed_from
from bitspike.runtime import Evaluation
from bitspike.train.batches import Batches
from bitspike.train.checkpoint import Progress, Run, load_state, refuse_other_run, same_beginning
from bitspike.train.config import Recipe
from bitspike.train.container import network_digest
from bitspike.train.distributed import (
    check_shareable,
    from_first,
    is_first,
    meet,
    own_device,
    replicated,
    together,
)
from bitspike.train.ema import MovingAverage
from bitspike.train.evaluate import check_fit, evaluate
from bitspike.train.loop import EpochCallback, TrainingLoop
from bitspike.train.model_file import (
    MODEL_FILE,
    ModelHeader,
    find_model_file,
    load_model,
    read_header,
    refuse_non_finite,
    save_model,
)
from bitspike.train.optimizer import build_optimizer
from bitspike.train.precision import chosen_precision
from bitspike.train.progress import TrainingProgress
from bitspike.train.provenance import git_commit, versions
from bitspike.train.random_state import seed_everything
from bitspike.train.teacher import Teacher, load_teacher
from bitspike.wording import percent

STATE_FILE = "state.safetensors"


@dataclass(frozen=True)
class TrainResult:
    """A finished run; the network is in eval state, with the final weights (the moving average, if any)."""

    net: nn.Module
    header: ModelHeader
    model_file: Path | None
    resumed: bool

    def __str__(self) -> str:
        found = [
            f"{percent(value)} of the {split} split"
            for split in ("validation", "test")
            if (value := self.results.get(f"{split}_accuracy")) is not None
        ]
        name = self.header.model or type(self.net).__name__
        place = "" if self.model_file is None else f", in {self.model_file}"
        return f"{name}: {', '.join(found) or 'trained'}{place}"

    @property
    def results(self) -> dict[str, Any]:
        """Accuracies, firing rates, history and seconds, as stored in the model file."""
        return self.header.results

    @property
    def seconds(self) -> float:
        """Of training, in all stages of the recipe; what a `start` took before is not counted."""
        provenance = self.header.provenance
        earlier = 0.0 if (self.header.recipe or {}).get("start") else provenance.get("origin", {}).get("seconds", 0.0)
        return float(provenance["seconds"] + earlier)


@dataclass(frozen=True)
class Origin:
    """Where a network that is trained further comes from.

    recipe: the whole recipe, of which this run is the last stage; identity: of what came before, part of this run's;
    provenance, results: what the model file shall say about it.
    """

    recipe: Recipe
    identity: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


@together()
def train(
    net: nn.Module,
    data: Dataset,
    recipe: Recipe,
    *,
    test: Dataset | None = None,
    teacher: nn.Module | None = None,
    origin: Origin | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    device: str | torch.device = "auto",
    save_every: float = 60.0,
    show_progress: bool = True,
    on_epoch: EpochCallback | None = None,
) -> TrainResult:
    """Train a network as a recipe says and evaluate it as integers, on `test` once, at the end.

    `data` is the training split; the recipe's validation part is carved out of it. The last epoch is what
    counts: no weights are chosen by looking at accuracies. With a folder `out` the state is saved there every
    `save_every` seconds and every epoch, a killed run goes on by itself, and the trained network ends up in
    `model.safetensors`; `resume=False` starts over; a second process in the same folder is
    refused. `on_epoch` gets the record of each finished epoch.

    `teacher` is a trained network whose logits are learned beside the labels, as the recipe's `teacher` table says;
    by default the one whose file that table names. `origin` says where a network comes from that has been trained
    before; `train_recipe` gives it.

    Among several processes, as `torchrun` starts them, each trains on its share of every batch. All of them get
    the same result and call `on_epoch`; the first one writes and shows.

    Seeds the global random generators of torch, numpy and Python with the recipe's seed.
    """
    keep_freed_memory()
    place = choose_device(device)
    folder = None if out is None else Path(out)
    _refuse_stages(recipe, origin)
    if folder is not None and recipe.teacher.model:
        refuse_own_file("teacher.model", find_model_file(recipe.teacher.model, "teacher.model"), folder)
    _check_network(net, recipe, data, test)
    precision = chosen_precision(recipe.train.precision, place)
    net.to(place)
    taught_by = _teacher(teacher, recipe, data, place)
    identity = _identity(net, recipe, data, taught_by, origin)
    training, validation = data, None
    if recipe.data.validation:
        training, validation = split_validation(data, recipe.data.validation, seed=recipe.data.split_seed)
    batches = Batches(training, recipe, net, place)
    with own_folder(folder if is_first() else None):
        if folder is not None and _is_finished(folder, resume=resume):
            return _finished_earlier(net, folder / MODEL_FILE, identity, test)

        seed_everything(recipe.train.seed)
        if recipe.train.channels_last:
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        replica = replicated(net)
        average = MovingAverage(net, recipe.train.ema) if recipe.train.ema else None
        began = network_digest(net, module=repr(net))
        run = Run(net, build_optimizer(net, recipe.train), average, Progress(), began=began, precision=precision)
        state = None if folder is None else folder / STATE_FILE
        resumed = from_first(state is not None and state.is_file())
        if state is not None and resumed:
            load_state(state, run, identity)
        loop = TrainingLoop(run, replica, batches, validation, recipe, state, identity, taught_by, save_every)
        with _memory_of(place, recipe):
            validated = loop.train(TrainingProgress(show=show_progress and is_first()), on_epoch)

        if average is not None:
            average.copy_to(net)
        net.eval()
        results = _evaluated(net, validation, validated, test, run.progress)
        provenance = _provenance(recipe, identity, test, run, place) | {"precision": precision}
        if origin is not None:
            provenance["origin"], results = origin.provenance, results | origin.results
        header = ModelHeader(
            **_model(net, recipe),
            quant=recipe.quant.to_dict(),
            recipe=(recipe if origin is None else origin.recipe).to_dict(),
            provenance=from_first(provenance),
            results=from_first(results),
        )
        if folder is None or state is None:
            return TrainResult(net, header, None, resumed)
        if is_first():
            save_model(net, folder / MODEL_FILE, header)
            remove_files(state)
        meet()
        return TrainResult(net, header, folder / MODEL_FILE, resumed)


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one, and among processes the one of this process."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        named = torch.device(device)
    except RuntimeError:
        raise ValueError(f'device is "{device}"; give auto, cpu, cuda or cuda:0') from None
    chosen = own_device(named)
    count = torch.cuda.device_count() if chosen.type == "cuda" else 1
    if chosen.type == "cuda" and (chosen.index or 0) >= count:
        seen = "no GPU" if count == 0 else "one GPU" if count == 1 else f"{count} GPUs"
        raise ValueError(
            f'device is "{device}", but torch sees {seen} here; give auto or cpu (`bitspike doctor` tells more)'
        )
    return chosen


@contextmanager
def _memory_of(device: torch.device, recipe: Recipe) -> Iterator[None]:
    """Say what would fit where a GPU turns out too small, which its first step shows."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        batch, size = recipe.train.batch, ""
        if device.type == "cuda":
            size = f" of {torch.cuda.get_device_properties(device).total_memory / 2**30:.1f} GiB"
        advice = f"set train.batch = {max(1, batch // 2)} or less, and train.lr with it"
        if recipe.train.precision == "float32":
            advice += ', or train.precision = "auto", which may halve what is kept'
        raise ValueError(f"the memory{size} of {device} is too small for train.batch = {batch}; {advice}") from error


def _check_network(net: nn.Module, recipe: Recipe, data: Dataset, test: Dataset | None) -> None:
    """Refuse, before anything starts, a network that the run could not train, save or test."""
    for split in (data, test):
        if split is not None:
            check_fit(net, split)
    check_recipe(net, recipe)
    check_shareable(net)
    refuse_non_finite(net.state_dict(), "the network cannot be trained")


def check_recipe(net: nn.Module, recipe: Recipe) -> None:
    """Refuse a network that is quantized, or runs, otherwise than its recipe, and so its file, would say."""
    entry = next((module for module in net.modules() if isinstance(module, ImageInput)), None)
    if entry is not None and entry.time_steps != recipe.data.time_steps:
        raise ValueError(
            f"the network shows an image for {entry.time_steps} time steps, the recipe says "
            f"data.time_steps = {recipe.data.time_steps}; make them equal"
        )
    if name := differing_layer(net, recipe.quant):
        raise ValueError(
            f"layer {name} of the network is not quantized as the recipe says ({recipe.quant.short()}); call "
            "quantize_(net, recipe.quant) first, or give the recipe the network's quantization"
        )


def _refuse_stages(recipe: Recipe, origin: Origin | None) -> None:
    """What has several stages is not done here, and its file may not say that it was."""
    given = [name for name in ("start", "prune", "finetune") if getattr(recipe, name)]
    if given and origin is None:
        raise ValueError(
            f"the recipe has {', '.join(given)}, but train() trains one network once; call train_on(recipe, data), or "
            "for a network of your own prune_() between two trainings without them"
        )


def refuse_own_file(what: str, file: Path, folder: Path) -> None:
    """A run needs the network until its end, and would replace it if it lay in the run's own folder."""
    if file.resolve().parent == folder.resolve():
        raise ValueError(f"{what} is {file}, which this run in {folder} would replace; choose another folder (--out)")


def _teacher(net: nn.Module | None, recipe: Recipe, data: Dataset, device: torch.device) -> Teacher | None:
    if net is None and recipe.teacher.model:
        net = load_teacher(recipe.teacher.model, data)
    return None if net is None else Teacher(net, device, channels_last=recipe.train.channels_last)


def run_identity(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """What is known of a run's identity before there is a network."""
    return {"recipe": recipe.training_dict(), "data": {"name": data.name, "fingerprint": data.fingerprint}}


def _identity(
    net: nn.Module, recipe: Recipe, data: Dataset, teacher: Teacher | None, origin: Origin | None
) -> dict[str, Any]:
    """What must be the same for a run to go on: it decides the trained weights."""
    found = run_identity(recipe, data)
    if teacher is not None:
        how = {"weight": recipe.teacher.weight, "temperature": recipe.teacher.temperature}
        found["teacher"] = {"fingerprint": teacher.fingerprint, **how}
    if origin is not None:
        found["origin"] = origin.identity
    if pruned := removed_from(net):
        found["pruned"] = pruned
    return found


def _is_finished(folder: Path, *, resume: bool) -> bool:
    """Whether the folder holds the end of a run; not where it shall start over."""
    if is_first() and not resume:
        remove_files(folder / MODEL_FILE, folder / STATE_FILE)
    return from_first((folder / MODEL_FILE).is_file())


def remove_files(*files: Path) -> None:
    """Remove what is there of these files, and of what a killed run was writing for them."""
    for file in files:
        file.unlink(missing_ok=True)
        temporary_name(file).unlink(missing_ok=True)


def _finished_earlier(net: nn.Module, file: Path, identity: dict[str, Any], test: Dataset | None) -> TrainResult:
    """The result of a run that ended in this folder before, unless it was another run; tested now if it was not."""
    provenance = read_header(file).provenance
    refuse_other_run(file.parent, provenance.get("identity", {}), identity)
    same_beginning(file.parent, provenance.get("began"), network_digest(net, module=repr(net)))
    _, header = load_model(file, net)
    if test is not None and "test_accuracy" not in header.results:
        tested = from_first(_results(None, evaluate(net, test), Progress()) if is_first() else {})
        results = header.results | {key: value for key, value in tested.items() if key != "history"}
        header = replace(header, results=results, provenance=provenance | {"test_fingerprint": test.fingerprint})
        if is_first():
            save_model(net, file, header)
    if is_first():
        remove_files(file.parent / STATE_FILE)  # there if the run was killed between its last two files
    return TrainResult(net, header, file, True)


def _model(net: nn.Module, recipe: Recipe) -> dict[str, Any]:
    """How to build the network again; registered ones remember it, for others the name stays empty."""
    name = getattr(net, "model_name", "")
    options = getattr(net, "model_options", {})
    options = {key: value for key, value in options.items() if key != "spec"}
    return {"model": name, "options": options, "pruned": removed_from(net)}


def _provenance(
    recipe: Recipe, identity: dict[str, Any], test: Dataset | None, run: Run, device: torch.device
) -> dict[str, Any]:
    return {
        "identity": identity,
        "began": run.began,
        "test_fingerprint": None if test is None else test.fingerprint,
        "seed": recipe.train.seed,
        "seconds": run.progress.seconds,
        "device": device.type,
        "processes": processes(),
        "commit": git_commit(),
        "versions": versions(),
    }


def _evaluated(
    net: nn.Module,
    validation: Dataset | None,
    validated: Evaluation | None,
    test: Dataset | None,
    progress: Progress,
) -> dict[str, Any]:
    """What is found of the trained network; the last epoch may have validated it already."""
    if not is_first():
        return {}
    if validation is not None and validated is None:
        validated = evaluate(net, validation)
    return _results(validated, None if test is None else evaluate(net, test), progress)


def _results(validated: Evaluation | None, tested: Evaluation | None, progress: Progress) -> dict[str, Any]:
    """What is worth keeping of the evaluations; firing rates from the test split, else from validation."""
    results: dict[str, Any] = {"history": progress.history}
    for name, found in (("validation", validated), ("test", tested)):
        if found is not None:
            results[f"{name}_accuracy"] = found.accuracy
            results[f"{name}_samples"] = found.samples
            results["firing_rates"] = found.firing_rates
    return results
