"""The integers in a NIR file's metadata, and the way back from there.

Every node that stands for a layer holds that layer under the key "integer", as in a `.bsp` header
(docs/reference/format.md), with its arrays in place of their names. docs/reference/nir.md tells the keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from bitspike.integer.check import check
from bitspike.integer.container import Tensors
from bitspike.integer.file import About, refuse_depth
from bitspike.integer.graph import Graph
from bitspike.integer.limits import MOST_NODES, MOST_WEIGHTS
from bitspike.integer.reading import from_plain
from bitspike.integer.writing import to_plain

KEY, WEIGHT_KEY = "integer", "integer_weight"
VERSION = 1
_NOTHING = "none"
_ARRAYS = frozenset(("bias", "channel_map", "planes", "rounding", "rounding_fired", "shift", "threshold", "zero_point"))
_MAY_BE_NOTHING = frozenset(("channel_map", "kernel", "rounding_fired", "skip", "stride", "time_steps"))


def embedded(graph: Graph) -> list[dict[str, Any]]:
    """One object for every node of the graph, of what NIR's metadata can hold: numbers, texts, arrays, objects."""
    nodes, tensors = to_plain(graph)
    return [{"version": VERSION, "place": place, **_held(node, tensors)} for place, node in enumerate(nodes)]


def about_network(notes: tuple[str, ...], about: About) -> dict[str, Any]:
    """The graph's own metadata: what is to be known of the network, as JSON."""
    return {"version": VERSION, "about": json.dumps({"notes": list(notes), **vars(about)}, allow_nan=False)}


def extracted(nir_graph: Any) -> tuple[Graph, tuple[str, ...], About]:
    """The network that a NIR graph holds in its metadata, checked like that of a `.bsp` file; else ValueError."""
    held = [node.metadata for node in nir_graph.nodes.values() if isinstance(node.metadata, dict)]
    layers = [metadata[KEY] for metadata in held if KEY in metadata]
    if not layers:
        raise ValueError("its nodes hold no integers; bitspike import makes a network of its real values")
    if not all(isinstance(layer, dict) for layer in layers) or len(layers) > MOST_NODES:
        raise ValueError(f'the metadata "{KEY}" of its nodes is no object')
    placed: dict[int, dict[str, Any]] = {}
    for layer in layers:
        if (version := _plain_number(layer, "version")) != VERSION:
            raise ValueError(f"its integers are of version {version}; this bitspike reads {VERSION}")
        placed[_plain_number(layer, "place")] = layer
    if sorted(placed) != list(range(len(layers))):
        raise ValueError("a layer of its integers is missing, or there twice")
    tensors: Tensors = {}
    nodes = [_told(placed[place], str(place), tensors) for place in range(len(placed))]
    for node in nodes:
        del node["version"], node["place"]
    graph = from_plain(nodes, tensors)
    check(graph)
    return graph, *_about(nir_graph.metadata.get(KEY))


def _held(value: Any, tensors: Tensors, key: str = "") -> Any:
    if isinstance(value, dict):
        return {inner: _held(item, tensors, inner) for inner, item in value.items()}
    if value is None:
        return _NOTHING
    if key in _ARRAYS and isinstance(value, str):
        return tensors[value]
    return np.array(value, np.int64) if isinstance(value, list) else value


def _told(value: Any, path: str, tensors: Tensors, key: str = "") -> Any:
    """The other way; whatever else stands there is left for `from_plain` to refuse."""
    if isinstance(value, dict):
        return {str(inner): _told(item, f"{path}/{inner}", tensors, str(inner)) for inner, item in value.items()}
    if isinstance(value, str) and value == _NOTHING and key in _MAY_BE_NOTHING:
        return None
    if isinstance(value, np.ndarray) and value.ndim and key in _ARRAYS:
        if value.dtype.kind not in "iu" or value.size > MOST_WEIGHTS:
            raise ValueError(f"{path} holds {value.size} x {value.dtype}, not up to {MOST_WEIGHTS} whole numbers")
        tensors[path] = value
        return path
    if isinstance(value, np.ndarray) and value.size > MOST_NODES:
        raise ValueError(f"{path} holds {value.size} values where a few numbers belong")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _plain_number(layer: Mapping[str, Any], key: str) -> int:
    value = layer.get(key)
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise ValueError(f"{key} of its integers is no whole number")
    return int(value)


def _about(metadata: Any) -> tuple[tuple[str, ...], About]:
    """What the file says of the network; nothing, where that is unreadable: it decides nothing that is computed."""
    try:
        told = json.loads(metadata["about"], parse_constant=_refuse_constant)
        notes = tuple(note for note in told["notes"] if isinstance(note, str) and note.isprintable())
        about = About(told["provenance"], told["results"], told["certificate"])
        for part in vars(about).values():
            refuse_depth(part)
    except (TypeError, KeyError, ValueError, RecursionError):
        return (), About()
    objects = isinstance(about.provenance, dict) and isinstance(about.results, dict)
    return notes, about if objects and isinstance(about.certificate, dict | None) else About()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
