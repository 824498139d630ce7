"""The shareable file of a trained network: its float weights and, in the header, how to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.spec import QuantSpec
from bitspike.train.container import load_weights, read_container, write_container

KIND = "bitspike model"
VERSION = 1
MODEL_FILE = "model.safetensors"
"""What it is called in the folder of a run."""


@dataclass(frozen=True)
class ModelHeader:
    """What a model file says about itself.

    model, options   the registered name and every argument of `create_model` but the quantization; both empty
                     for a network that is not in the registry
    quant            the quantization, as `QuantSpec.to_dict` writes it
    recipe           the recipe it was trained with, if any
    provenance       seed, versions, data fingerprints, commit, seconds
    results          accuracies as fractions, firing rates per layer
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    quant: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def refuse_non_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise if a tensor holds NaN or infinity, and name it."""
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise ValueError(
                f"{where}: {name} holds {count} values that are NaN or infinite; no network computes anything "
                "from those, so train it again with a lower learning rate or with gradient clipping"
            )


def save_model(net: nn.Module, path: str | Path, header: ModelHeader) -> None:
    """Write a network's weights and header to `path`, atomically."""
    weights = net.state_dict()
    refuse_non_finite(weights, f"cannot save {path}")
    write_container(path, weights, {"format": KIND, "version": VERSION, **header.to_dict()})


def read_header(path: str | Path) -> ModelHeader:
    """The header alone."""
    return _read(path)[1]


def load_model(path: str | Path, net: nn.Module | None = None) -> tuple[nn.Module, ModelHeader]:
    """Build the network that a model file describes, with its weights; returned in eval state.

    A network that is not in the registry is given as `net` and only filled.
    """
    weights, header = _read(path)
    refuse_non_finite(weights, str(path))
    if net is None:
        net = build_network(header)
    load_weights(net, weights, path)
    return net.eval(), header


def build_network(header: ModelHeader) -> nn.Module:
    """The network that a header describes, with fresh weights."""
    from bitspike.model import create_model

    if not header.model:
        raise ValueError(
            "the model file holds a network that is not in the registry, so it cannot be built from the file; "
            "build it and give it: load_model(path, net)"
        )
    return create_model(header.model, spec=QuantSpec.from_dict(header.quant), **header.options)


def find_model_file(path: str | Path, setting: str) -> Path:
    """The model file at a path, or in the run's folder there; `setting` is what the error calls it."""
    file = Path(path).expanduser()
    file = file / MODEL_FILE if file.is_dir() else file
    if not file.is_file():
        raise FileNotFoundError(
            f"{setting}: there is no model file {file}; give one that `bitspike train` wrote, or its run's folder "
            "(relative paths start in the working directory)"
        )
    return file


def _read(path: str | Path) -> tuple[dict[str, Tensor], ModelHeader]:
    tensors, header = read_container(path, KIND, VERSION)
    fields = {key: value for key, value in header.items() if key not in ("format", "version")}
    try:
        return tensors, ModelHeader(**fields)
    except TypeError as error:
        raise ValueError(f"{path} has a header that this bitspike does not understand: {error}") from None
