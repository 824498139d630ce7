"""Saving and loading unsupervised networks, and runs that are under way: .bsp files of kinds of their own.

Integer weights are packed as planes of bits; floats travel as the integers with the same bits. docs/reference/format.md
has the layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.atomic import atomic_write
from bitspike.integer.container import Tensors, kind_of, pack, unpack
from bitspike.integer.tables import narrow
from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.labels import Labels
from bitspike.stdp.network import StdpNetwork
from bitspike.stdp.state import State

KIND = "bitspike STDP network"
STATE_KIND = "bitspike STDP state"
VERSION = 1


def save(network: StdpNetwork, path: str | Path) -> None:
    """Write a network atomically."""
    atomic_write(path, to_bytes(network, KIND))


def load(path: str | Path) -> StdpNetwork:
    """Read and check a network; ValueError, in one sentence with the path, where it is none."""
    return _read(path, KIND)[0]


def is_stdp_file(path: str | Path) -> bool:
    """Whether a file says that it holds an unsupervised network."""
    return kind_of(path) == KIND


def to_bytes(network: StdpNetwork, kind: str, **more: Any) -> bytes:
    """The file of a network; more: what else its header says. The same network gives the same bytes."""
    config, state = network.config, network.state
    tensors: dict[str, NDArray[Any]] = {"theta": _plain(state.theta)}
    if config.bits is None:
        tensors |= {"weights": _plain(state.weights), "unsettled": state.unsettled}
    else:
        tensors |= {
            "weights": _planes(state.weights, config.bits.weight),
            "scale": narrow(state.scale.astype(np.int64)),
        }
    if network.labels is not None:
        for name in ("label", "proportion", "all_activity"):
            tensors[f"labels/{name}"] = narrow(getattr(network.labels, name).astype(np.int64))
    header = {
        "format": kind,
        "version": VERSION,
        "config": config.to_dict(),
        "images": state.images,
        "about": network.about,
        **more,
    }
    return pack(header, tensors)


def _read(path: str | Path, kind: str) -> tuple[StdpNetwork, dict[str, Any]]:
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give the path of a {kind} (.bsp)")
    header, tensors = unpack(file.read_bytes(), path, kind=kind, newest=VERSION)
    try:
        return _network(header, tensors), header
    except (ValueError, TypeError, KeyError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path} holds no network that could be run: {said}; make the file anew") from None


def save_state(
    path: str | Path, network: StdpNetwork, identity: Mapping[str, Any], progress: Mapping[str, Any]
) -> None:
    """Write a run that is under way; identity must be the same when it goes on."""
    atomic_write(path, to_bytes(network, STATE_KIND, identity=dict(identity), progress=dict(progress)))


def load_state(path: str | Path) -> tuple[StdpNetwork, dict[str, Any], dict[str, Any]]:
    """Network, identity and progress of a run that is under way."""
    network, header = _read(path, STATE_KIND)
    return network, dict(header["identity"]), dict(header["progress"])


def _network(header: Mapping[str, Any], tensors: Tensors) -> StdpNetwork:
    config = StdpConfig.from_dict(header["config"])
    shape, images = (config.inputs, config.neurons), header["images"]
    if not isinstance(images, int) or images < 0 or not isinstance(header["about"], dict):
        raise ValueError("its images or what it says about itself cannot be read")
    if config.bits is None:
        state = State(
            _floats(tensors["weights"], shape),
            _floats(tensors["theta"], shape[1:]),
            np.ones(config.neurons, np.uint16),
            _checked("unsettled", tensors["unsettled"], shape[1:], 1).astype(np.uint8),
            images,
        )
    else:
        constants = integer_constants(config)
        state = State(
            _unpacked(tensors["weights"], shape, config.bits.weight),
            _checked("theta", tensors["theta"], shape[1:], constants.theta_most).astype(np.uint16),
            _checked("scale", tensors["scale"], shape[1:], constants.scale_most).astype(np.uint16),
            np.zeros(config.neurons, np.uint8),
            images,
        )
    return StdpNetwork(config, state, _labels(tensors, config.neurons), dict(header["about"]))


def _labels(tensors: Tensors, neurons: int) -> Labels | None:
    if "labels/label" not in tensors:
        return None
    proportion = tensors["labels/proportion"]
    shape = (neurons, proportion.shape[1] if proportion.ndim == 2 else 0)
    return Labels(
        _checked("labels/label", tensors["labels/label"], shape[:1], shape[1] - 1, lowest=-1).astype(np.int16),
        _checked("labels/proportion", proportion, shape, 65535).astype(np.uint16),
        _checked("labels/all_activity", tensors["labels/all_activity"], shape, 65535).astype(np.uint16),
    )


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Floats as the integers of the same bits; integers at their narrowest width."""
    if values.dtype == np.float32:
        return values.view(np.int32)
    if values.dtype.kind == "f":
        raise TypeError(f"the network is in {values.dtype}; only float32 and integer networks are saved")
    return narrow(values.astype(np.int64))


def _floats(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if values.dtype != np.int32 or values.shape != shape:
        raise ValueError(f"floats of shape {list(values.shape)} where {list(shape)} belong")
    found = np.ascontiguousarray(values).view(np.float32).copy()
    if not np.isfinite(found).all() or (found < 0).any():
        raise ValueError("weights and thresholds must be finite numbers of at least 0")
    return found


def _checked(
    name: str, values: NDArray[Any], shape: tuple[int, ...], highest: int, lowest: int = 0
) -> NDArray[np.int64]:
    found = values.astype(np.int64)
    if found.shape != shape or found.min() < lowest or found.max() > highest:
        raise ValueError(f"{name} has shape {list(found.shape)} or values that do not belong there")
    return found


def _planes(weights: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """uint8 [bits, ceil(n / 8)]: plane k holds bit k of every weight, inputs outermost, the first in the lowest bit."""
    flat = weights.reshape(-1)
    return np.stack([np.packbits((flat >> k) & 1, bitorder="little") for k in range(bits)])


def _unpacked(planes: NDArray[Any], shape: tuple[int, int], bits: int) -> NDArray[Any]:
    count = shape[0] * shape[1]
    if planes.dtype != np.uint8 or planes.shape != (bits, (count + 7) // 8):
        raise ValueError(f"weights of {bits} bits are packed in uint8 [{bits}, {(count + 7) // 8}]")
    weights = np.zeros(count, np.uint16)
    for k, plane in enumerate(np.unpackbits(planes, axis=1, count=count, bitorder="little")):
        weights |= plane.astype(np.uint16) << np.uint16(k)
    return weights.astype(np.uint8 if bits <= 8 else np.uint16).reshape(shape)
