"""The shareable file of a trained network: its float weights and, in the header, how to build it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import blocks_of, quantize_
from bitspike.block.spec_of import differing_layer, spec_of
from bitspike.prune.removal import remove_, removed_from
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
    pruned           block name -> the channels that pruning left, numbered as in the network before it
    """

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    quant: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    pruned: dict[str, list[int]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; nothing of pruning for a whole network, so that older versions read its file."""
        found = asdict(self)
        if not self.pruned:
            del found["pruned"]
        return found


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
    """Write a network's weights and header to `path`, atomically.

    What pruning left of it is written in any case, and its quantization where the header has none.
    """
    header = replace(header, pruned=removed_from(net))
    if any(True for _ in blocks_of(net)):
        quant = spec_of(net) if not header.quant else QuantSpec.from_dict(header.quant)
        if name := differing_layer(net, quant):
            raise ValueError(
                f"cannot save {path}: layer {name} is not quantized as the header says ({quant.short()}); leave its "
                "quant out, then the network's own is written"
            )
        header = replace(header, quant=quant.to_dict())
    weights = net.state_dict()
    refuse_non_finite(weights, f"cannot save {path}")
    write_container(path, weights, {"format": KIND, "version": VERSION, **header.to_dict()})


def read_header(path: str | Path) -> ModelHeader:
    """The header alone."""
    return _read(path)[1]


def load_model(path: str | Path, net: nn.Module | None = None) -> tuple[nn.Module, ModelHeader]:
    """Build the network that a model file describes, with its weights; returned in eval state.

    A network that is not in the registry is given as `net`. It is pruned and quantized as the file's network is, and
    gets its weights.
    """
    weights, header = _read(path)
    refuse_non_finite(weights, str(path))
    if net is None:
        net = build_network(header)
    else:
        net = pruned_as(net, header)
        if any(True for _ in blocks_of(net)):  # what holds none is refused for its weights
            quantize_(net, QuantSpec.from_dict(header.quant))
    load_weights(net, weights, path)
    return net.eval(), header


def build_network(header: ModelHeader) -> nn.Module:
    """The network that a header describes, pruned as it says, with fresh weights."""
    from bitspike.model import create_model

    if not header.model:
        raise ValueError(
            "the model file holds a network that is not in the registry, so it cannot be built from the file; "
            "build it and give it: load_model(path, net)"
        )
    return pruned_as(create_model(header.model, spec=QuantSpec.from_dict(header.quant), **header.options), header)


def pruned_as(net: nn.Module, header: ModelHeader) -> nn.Module:
    """The network after the removals that a header tells; one that was pruned so before is left as it is."""
    if removed_from(net) == header.pruned:
        return net
    if removed_from(net):
        raise ValueError("the network was pruned otherwise than that of the model file; give it as it was before")
    try:
        remove_(net, _checked_table(header.pruned))
    except (TypeError, ValueError) as error:
        raise ValueError(f"the model file's table of pruned channels does not fit the network: {error}") from None
    return net


def _checked_table(pruned: Any) -> dict[str, list[int]]:
    """A stranger's table, its types looked at."""
    if not isinstance(pruned, dict) or not all(isinstance(stay, list) for stay in pruned.values()):
        raise TypeError("it is no table of names and lists of channels")
    return pruned


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
