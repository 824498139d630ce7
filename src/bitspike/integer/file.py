"""Saving and loading integer networks as `.bsp` files; docs/reference/format.md is the layout.

What is loaded was checked: its checksum, its structure, and that no sum of it can leave 32 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitspike.atomic import atomic_write
from bitspike.integer.check import check
from bitspike.integer.container import KIND, START, VERSION, pack, unpack, with_header
from bitspike.integer.graph import Graph
from bitspike.integer.limits import DEEPEST
from bitspike.integer.reading import from_plain
from bitspike.integer.writing import to_plain

_KEYS = {"format", "version", "graph", "notes", "provenance", "results", "certificate"}


@dataclass(frozen=True)
class About:
    """What is to be known of a network besides itself; plain data for JSON.

    provenance   model, options, recipe, data, seed, versions, commit
    results      accuracies as fractions, firing rates
    certificate  what certification wrote, or None
    """

    provenance: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    certificate: dict[str, Any] | None = None


@dataclass(frozen=True)
class Contents:
    """What a file holds: the network, what lowering noted, and what is to be known of it."""

    graph: Graph
    notes: tuple[str, ...] = ()
    about: About = field(default_factory=About)


def save(path: str | Path, contents: Contents) -> None:
    """Write a network atomically; what could not be loaded again is refused before anything is written."""
    atomic_write(path, to_bytes(contents))


def load(path: str | Path) -> Contents:
    """Read and check a network; ValueError, in one sentence with the path, where it is none to be trusted."""
    return from_bytes(_bytes_of(Path(path)), path)


def replace_certificate(path: str | Path, certificate: Mapping[str, Any] | None) -> None:
    """Write another certificate into a file, atomically; network and tensors stay byte for byte."""
    data = _bytes_of(Path(path))
    from_bytes(data, path)
    header, _ = unpack(data, path)
    header["certificate"] = None if certificate is None else dict(certificate)
    refuse_depth(header["certificate"])
    atomic_write(path, with_header(data, header))


def is_network_file(path: str | Path) -> bool:
    """Whether a path is meant as one of these files: by its suffix, or because it begins like one."""
    file = Path(path)
    if file.suffix == ".bsp" or not file.is_file():
        return file.suffix == ".bsp"
    with file.open("rb") as opened:
        return opened.read(8 + len(START))[8:] == START


def to_bytes(contents: Contents) -> bytes:
    """The file of a network; the same contents give the same bytes."""
    check(contents.graph)
    nodes, tensors = to_plain(contents.graph)
    header = {
        "format": KIND,
        "version": _version(nodes),
        "graph": nodes,
        "notes": list(contents.notes),
        **vars(contents.about),
    }
    _refuse_other_keys(header)
    return pack(header, tensors)


def from_bytes(data: bytes, where: object, *, verify: bool = True) -> Contents:
    """What a file holds, or ValueError; verify False leaves out the checksum alone, to try what lies behind it."""
    header, tensors = unpack(data, where, verify=verify)
    try:
        _refuse_other_keys(header)
        graph = from_plain(header["graph"], tensors)
        check(graph)
    except ValueError as error:
        raise ValueError(f"{where} holds no network that could be run: {error}") from None
    about = About(header["provenance"], header["results"], header["certificate"])
    return Contents(graph, tuple(header["notes"]), about)


def _version(nodes: list[dict[str, Any]]) -> int:
    """The first version of the format that has all these keys, so that older readers take what they can."""
    if any("largest" in node.get("operator", {}) or (node["node"] == "pool" and "padding" in node) for node in nodes):
        return VERSION
    return 2 if any("table_shift" in node.get("fire", {}) for node in nodes) else 1


def _refuse_other_keys(header: Mapping[str, Any]) -> None:
    if set(header) != _KEYS:
        found = sorted(set(header) ^ _KEYS)[0]
        raise ValueError(f"the key {found[:40]!r} of its header is {'missing' if found in _KEYS else 'unknown'}")
    _refuse_unprintable(header["notes"])
    for name in ("provenance", "results", "certificate"):
        if not isinstance(header[name], dict) and not (name == "certificate" and header[name] is None):
            raise ValueError(f"its {name} is no object")
        refuse_depth(header[name])


def _refuse_unprintable(notes: Any) -> None:
    """Notes are shown on terminals, which obey some characters."""
    if not isinstance(notes, list | tuple) or not all(isinstance(note, str) and note.isprintable() for note in notes):
        raise ValueError("its notes are no list of printable texts")


def refuse_depth(value: Any) -> None:
    """Whoever walks through it by recursion, such as the writer of JSON, must come to its end."""
    level = [value]
    for _ in range(DEEPEST):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = list({id(item): item for items in inner for item in items}.values())  # each once
        if not level:
            return
    raise ValueError(f"its provenance, results or certificate is nested deeper than {DEEPEST} levels")


def _bytes_of(file: Path) -> bytes:
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}; give the path of an integer network (.bsp)")
    return file.read_bytes()
