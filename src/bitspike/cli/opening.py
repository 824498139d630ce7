"""Opening what a command was given: a model file, and data as that model takes it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitspike.cli.data import known_name

if TYPE_CHECKING:
    from torch import nn

    from bitspike.data import Dataset
    from bitspike.runtime import IntegerNet
    from bitspike.train import ModelHeader


_OURS = ("root", "download")  # where data comes from is said on the command line alone


@dataclass(frozen=True)
class Origin:
    """What a file says of the network in it: its registered name, how it was made, what it reached."""

    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)


def model_path(given: Path) -> Path:
    """The model file meant by a path: itself, or the finished model in the folder of a training run."""
    path = given.expanduser()
    if not path.is_dir():
        return path
    inside = path / "model.safetensors"
    if inside.is_file():
        return inside
    if (path / "state.safetensors").is_file():
        raise ValueError(f"{path} holds a run that is not finished; the train command that began it goes on from there")
    if (path / "model.bsp").is_file():  # an unsupervised network's; who cannot read it says so
        return path / "model.bsp"
    raise FileNotFoundError(f"{path} is a folder without a model.safetensors; give a model file or the folder of a run")


def open_model(given: Path) -> tuple[nn.Module, ModelHeader, Path]:
    """The network of a model file in eval state, what the file says about itself, and which file it was."""
    from bitspike.train import load_model

    path = model_path(given)
    net, header = load_model(path)
    return net, header, path


def open_integers(given: Path) -> tuple[IntegerNet, Origin, Path] | None:
    """The integers of a `.bsp` or `.nir` file, what the file says of itself, and which it was; None if it is another.

    Loads no torch. What the file says is looked at by type, since anyone may have written it.
    """
    from bitspike.integer.file import is_network_file
    from bitspike.nir.files import is_nir_file
    from bitspike.runtime import IntegerNet

    path = model_path(given)
    if is_nir_file(path):
        from bitspike.nir import read_nir

        net = read_nir(path)
    elif is_network_file(path):
        net = IntegerNet.load(path)
    else:
        return None
    said = net.about.provenance
    model = said.get("model")
    options: dict[str, Any] = {}
    if net.graph.input.kind == "events":
        options = {"time_steps": net.graph.input.time_steps, "bound": net.graph.input.bound}
    recipe = _trained_on(said.get("recipe"), options)
    return net, Origin(model if isinstance(model, str) else "", options, recipe, said, net.about.results), path


def _trained_on(recipe: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
    """The data of a stranger's recipe, if any; what the network says of its own input stands above it."""
    data = recipe.get("data") if isinstance(recipe, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return None
    given = data.get("options")
    known = {key: value for key, value in given.items() if key not in _OURS} if isinstance(given, dict) else {}
    return {"data": {"name": data["name"], "options": {**known, **options}}}


def has_integer_form(net: nn.Module) -> bool:
    """Whether every block of a network is quantized."""
    from bitspike.block import blocks_of

    return all(block.has_integer_form for _, block in blocks_of(net))


def lowered(net: nn.Module) -> IntegerNet:
    """The integer network; what lowering has to say is in its notes, so the warnings are not shown as well."""
    from bitspike.lowering import DeadZoneWarning, lower

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadZoneWarning)
        return lower(net)


def data_for(
    header: ModelHeader | Origin, name: str | None, split: str, *, root: Path | None = None, download: bool = False
) -> Dataset:
    """A split as the network was trained to see it: recordings are binned as its recipe says.

    Without a name it is the data set that the network was trained on.
    """
    from bitspike.data import dataset_kind

    trained_on: dict[str, Any] = (header.recipe or {}).get("data", {})
    chosen = name or trained_on.get("name")
    if chosen is None:
        raise ValueError("the file does not say what its network was trained on; name a data set with --data")
    options: dict[str, Any] = {}
    if chosen == trained_on.get("name"):
        given = trained_on.get("options", {})
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    if dataset_kind(known_name(chosen)) == "events":
        for key in ("time_steps", "bound"):
            if header.options.get(key) is not None:
                options.setdefault(key, header.options[key])
    return load_named(chosen, split, root=root, download=download, **options)


def as_trained(samples: Dataset, header: ModelHeader | Origin) -> tuple[Dataset, Dataset | None]:
    """A train split as the network's recipe divides it: what it was trained on, and the validation part, if any."""
    from bitspike.data import split_validation

    told = (header.recipe or {}).get("data", {})
    if told.get("name") != samples.name or not told.get("validation"):
        return samples, None
    return split_validation(samples, told["validation"], seed=told.get("split_seed", 0))


def load_named(name: str, split: str, *, root: Path | None = None, download: bool = False, **options: Any) -> Dataset:
    """A split of a data set, by a name that is checked first."""
    from bitspike.data import load

    return load(known_name(name), split, root=root, download=download, **options)


def some_of(data: Dataset, first: int | None, count: int | None) -> Dataset:
    """The first so many samples of a data set, or so many that are spread evenly over it, or all."""
    from bitspike.runtime.certify import spread

    if first is not None and count is not None:
        raise ValueError("--limit and --samples were given; give one of them")
    if count is not None:
        return data.subset(spread(len(data), count))
    return data if first is None else data.subset(slice(0, first))
