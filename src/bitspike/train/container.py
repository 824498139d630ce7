"""One safetensors file with named tensors and a JSON header: the layout behind checkpoints and model files.

The metadata holds one entry, "bitspike", whose value is a JSON object with at least `format` and `version`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bitspike.atomic import atomic_write
from bitspike.nir.files import is_nir_file

_KEY = "bitspike"
_CHECKSUM = "sha256"


def write_container(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and header in one atomic step."""
    # Clones: a safetensors file may not hold two names for one memory, and tied weights are just that.
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    header = json.loads(json.dumps(header))  # as it will be read: keys of a JSON object are strings
    signed = {**header, _CHECKSUM: _digest(plain, header)}
    atomic_write(path, safetensors.torch.save(plain, metadata={_KEY: json.dumps(signed)}))


def read_container(path: str | Path, kind: str, newest: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the header of a file of this kind, or say in one sentence why not."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give the path of a {kind}")
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            header = _header(file, metadata, kind, newest)
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        if is_nir_file(file):
            raise ValueError(
                f"{file} is a NIR file, and a {kind} is needed; bitspike import makes one of its real values"
            ) from None
        raise ValueError(
            f"{file} is not a readable {kind}: it is truncated, damaged or no safetensors file ({error}); "
            "copy it again or make it anew"
        ) from None
    _refuse_damage(file, kind, metadata[_KEY], tensors, header)
    header.pop(_CHECKSUM, None)
    return tensors, header


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """Sha256 over the header without its checksum, and name, dtype, shape and bytes of every tensor."""
    plain = {key: value for key, value in header.items() if key != _CHECKSUM}
    found = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        found.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def weights_digest(tensors: Mapping[str, Tensor], **words: Any) -> str:
    """A fingerprint of weights: names, types, shapes and values, and of what else is told, as plain data."""
    return _digest(tensors, words)


def network_digest(net: nn.Module, **words: Any) -> str:
    """The fingerprint of a network's weights and statistics, wherever it lies, and of what else is told."""
    return weights_digest({name: value.detach().cpu() for name, value in net.state_dict().items()}, **words)


def _refuse_damage(file: Path, kind: str, text: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Raise if the checksum does not hold; files written before there was one have none."""
    if _CHECKSUM in header:
        # The text too: JSON has more than one spelling of the same value.
        whole = header[_CHECKSUM] == _digest(tensors, header) and text == json.dumps(header)
    else:
        # A checksum under a damaged name is no missing checksum.
        whole = not any(isinstance(value, str) and len(value) == 64 for value in header.values())
    if not whole:
        fresh = ", or start over with --fresh" if kind.endswith("state") else ""
        raise ValueError(f"{file} is a damaged {kind}: its checksum does not hold; copy it again{fresh}")


def _header(file: Path, metadata: Mapping[str, str], kind: str, newest: int) -> dict[str, Any]:
    try:
        header = json.loads(metadata[_KEY])
        found, version = str(header["format"]), int(header["version"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{file} is a safetensors file, but not a {kind}: it has no bitspike header") from None
    if found != kind:
        raise ValueError(f"{file} is a {found}, not a {kind}")
    if version > newest:
        raise ValueError(
            f"{file} has version {version} of the {kind} format, but this bitspike reads up to {newest}; "
            "update bitspike"
        )
    return dict(header)


def group(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose name starts with "prefix/", without it."""
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def prefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under "prefix/name"."""
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def load_weights(net: Any, tensors: Mapping[str, Tensor], file: str | Path) -> None:
    """Load a state dict; every misfit is told by the name of the tensor."""
    expected = net.state_dict()
    missing = [name for name in expected if name not in tensors]
    extra = [name for name in tensors if name not in expected]
    wrong = [name for name in expected if name in tensors and expected[name].shape != tensors[name].shape]
    if missing or extra or wrong:
        faults = [f"{len(missing)} missing (first {missing[0]})"] if missing else []
        faults += [f"{len(extra)} unknown (first {extra[0]})"] if extra else []
        if wrong:
            shapes = f"{tuple(tensors[wrong[0]].shape)}, not {tuple(expected[wrong[0]].shape)}"
            faults.append(f"{len(wrong)} of another shape (first {wrong[0]}: {shapes})")
        raise ValueError(f"the weights in {file} do not fit the network: {'; '.join(faults)}")
    net.load_state_dict(dict(tensors))
