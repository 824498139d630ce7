"""From a recipe alone to a trained network: load the data, build the network, train."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.atomic import refuse_unwritable
from bitspike.data import Dataset, dataset_kind, load
from bitspike.model import create_model, model_defaults
from bitspike.train.config import Recipe
from bitspike.train.distributed import first_goes_ahead, is_first, together
from bitspike.train.random_state import seed_everything
from bitspike.train.run import TrainResult, train
from bitspike.train.stages import train_in_stages


def load_data(recipe: Recipe, split: str, *, root: str | Path | None = None, download: bool = False) -> Dataset:
    """One split of the recipe's data set; recordings are binned into the recipe's number of time steps."""
    options: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in recipe.data.options.items()
    }
    if dataset_kind(recipe.data.name) == "events":
        options.setdefault("time_steps", recipe.data.time_steps)
    return load(recipe.data.name, split, root=root, download=download, **options)


def model_options(recipe: Recipe, data: Dataset) -> dict[str, Any]:
    """The arguments of `create_model` that follow from the data, and the recipe's own on top of them."""
    known = model_defaults(recipe.model.name)
    options = {
        "classes": data.classes,
        "input_shape": list(data.input_shape),
        "time_steps": data.time_steps or recipe.data.time_steps,
        "mean": list(data.mean) or None,
        "std": data.std,
        "bound": data.bound,
    }
    return {key: value for key, value in options.items() if key in known} | recipe.model.options


def build_net(recipe: Recipe, data: Dataset) -> nn.Module:
    """The recipe's network with fresh weights that the seed alone decides."""
    seed_everything(recipe.train.seed)
    return create_model(recipe.model.name, spec=recipe.quant, **model_options(recipe, data))


@together()
def train_recipe(
    recipe: Recipe, *, root: str | Path | None = None, download: bool = False, **options: Any
) -> TrainResult:
    """Do everything that a recipe says; `options` are those of `train`, such as `out` and `device`."""
    if options.get("out") is not None and is_first():
        refuse_unwritable(Path(options["out"]))
    with first_goes_ahead() if download else nullcontext():
        data = load_data(recipe, "train", root=root, download=download)
        test = load_data(recipe, "test", root=root, download=download)
    return train_on(recipe, data, test=test, **options)


def train_on(recipe: Recipe, data: Dataset, **options: Any) -> TrainResult:
    """Do everything that a recipe says with a training split that is there; `options` are those of `train`."""
    if recipe.start or recipe.prune is not None:
        return train_in_stages(recipe, lambda part: build_net(part, data), data, **options)
    return train(build_net(recipe, data), data, recipe, **options)
