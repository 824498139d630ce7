"""`export_nir` and `read_nir`: an integer network in a NIR file, for other tools and back."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bitspike.atomic import atomic_write
from bitspike.integer.graph import Input
from bitspike.nir.files import DEFAULT_DT, ENDINGS, nir_package, read_nir_file
from bitspike.nir.metadata import KEY, about_network, extracted
from bitspike.nir.nodes import nir_graph
from bitspike.runtime import IntegerNet

_SHORTEST, _LONGEST = 1e-12, 1e6  # seconds; what float32 holds with room for leaks


@dataclass(frozen=True)
class NirReport:
    """What was written.

    takes: what the file's input is to be given at every step; approximate: layers whose spikes NIR's own equations
    need not give, and why.
    """

    file: str
    bytes: int
    dt: float
    nodes: int
    takes: str
    approximate: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def export_nir(net: IntegerNet, file: str | Path, *, dt: float = DEFAULT_DT, overwrite: bool = False) -> NirReport:
    """Write a network as a NIR file.

    Its nodes hold the network in real values, for tools that know nothing of integers; their metadata holds the
    integers themselves, from which `read_nir` makes the very same network. dt: the length of a time step in seconds,
    which other tools must be told if it is not 0.0001. What NIR has no nodes for is refused by the layer's name
    (ValueError). docs/reference/nir.md tells what stands where.
    """
    nir = nir_package()
    path = Path(file).expanduser()
    if not _SHORTEST <= dt <= _LONGEST:
        raise ValueError(f"dt is {dt}; it is the length of a time step in seconds, from {_SHORTEST} to {_LONGEST:g}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the file to write, say {path / 'network.nir'}")
    if path.suffix not in ENDINGS:
        raise ValueError(f"{path} does not end like a NIR file: {', '.join(ENDINGS)}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} is there already; overwrite=True (--force) replaces it")
    graph = nir_graph(net.graph, dt)
    graph.metadata[KEY] = about_network(net.notes, net.about)
    held = io.BytesIO()
    nir.write(held, graph)
    atomic_write(path, held.getvalue())
    return NirReport(str(path), len(held.getvalue()), dt, len(graph.nodes), _takes(net.graph.input), _approximate(net))


def read_nir(source: str | Path | Any) -> IntegerNet:
    """The integer network of a file that `export_nir` wrote, or of its `nir` graph: the same in every spike.

    ValueError where the file holds no integers; `import_nir` makes a network of the real values of any NIR file.
    """
    if not isinstance(source, str | Path):
        if not hasattr(source, "nodes"):
            raise TypeError(f"read_nir takes a file or a graph of the nir package, not {type(source).__name__}")
        return IntegerNet(*extracted(source))
    graph = read_nir_file(source)
    try:
        return IntegerNet(*extracted(graph))
    except ValueError as error:
        raise ValueError(f"{source} holds no network that could be run: {error}") from None


def _takes(entry: Input) -> str:
    if entry.kind == "events":
        return "the step's counts of events"
    means = sorted(set(entry.zero_point))
    if means == [0]:
        return "pixel / 255"
    if len(means) == 1:
        return f"pixel / 255 - {means[0]} / 255"
    return f"pixel / 255 - {list(entry.zero_point)} / 255, a number for each channel"


def _approximate(net: IntegerNet) -> tuple[tuple[str, str], ...]:
    found = []
    for layer in net.graph.spiking:
        fire = layer.fire
        if fire.leak == 0:
            continue  # no membrane is left to round
        why = f"a membrane has {2 * fire.levels + 1} levels, NIR's is neither rounded nor clamped"
        if fire.reset == "soft":
            why += "; a reset subtracts the threshold, NIR's sets the membrane to zero"
        found.append((layer.name, why))
    return tuple(found)
