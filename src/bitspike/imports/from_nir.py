"""`import_nir`: a NIR graph as a network of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bitspike.imports.building import Entrance, Samples, build
from bitspike.imports.layers import CannotImport, Seen
from bitspike.imports.nir_nodes import Clock, layer_of, path_of
from bitspike.imports.nir_reference import run_node

DEFAULT_DT = 1e-4


def import_nir(
    source: str | Path | Any,
    time_steps: int,
    *,
    input_shape: Sequence[int] | None = None,
    dt: float = DEFAULT_DT,
    integration: str = "euler",
    reset: str = "hard",
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    bound: int | None = None,
    samples: Samples | None = None,
    seed: int = 0,
) -> nn.Module:
    """A network of blocks, at 32 bits, that gives the spikes of a NIR graph on a test batch.

    The graph is a single path of Conv2d, Linear, Affine, Scale, SumPool2d, AvgPool2d, Flatten, Threshold, LIF and IF.
    What has no equal is refused by its name (ValueError).

    source: a file, or a graph of the `nir` package; input_shape: (C, H, W), where the Input node does not say it.
    dt: the length of a time step in the file's unit of time. snnTorch and SpikingJelly write files for 0.0001.
    integration: euler, v + dt / tau ((v_leak - v) + r i), or exponential, the equation's solution for a constant i.
    reset: hard, as NIR defines it; soft; or delayed, which is what a file of snnTorch's `Leaky` means by default.
    The other arguments are those of `import_torch`.
    """
    graph = _read(source) if isinstance(source, str | Path) else source
    clock = Clock(float(dt), integration, reset)
    if not hasattr(graph, "nodes") or not hasattr(graph, "edges"):
        raise TypeError(f"import_nir takes a file or a graph of the nir package, not {type(graph).__name__}")
    path = path_of(graph)
    said = np.ravel(path[0][1].input_type["input"]) if input_shape is None else input_shape
    shape = tuple(int(size) for size in said)
    if len(shape) not in (1, 3):
        raise CannotImport(path[0][0], f"takes inputs of shape {list(shape)}; give input_shape, (C, H, W)")
    entrance = Entrance.of(shape, time_steps, mean, std, bound)
    batch = entrance.samples(samples, seed)
    value = entrance.seen_by_source(batch)
    value = value.flatten(2) if len(shape) == 1 or _begins_flat(path) else value
    seen = []
    for name, node in path[1:-1]:
        layer = layer_of(name, node, clock)
        try:
            value = run_node(name, node, value, clock)
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            raise CannotImport(name, f"does not take values of shape {list(value.shape[2:])}: {first}") from None
        seen.append(Seen(layer, value))
    return build(seen, entrance, batch, "nir")


def _begins_flat(path: list[tuple[str, Any]]) -> bool:
    return len(path) > 1 and type(path[1][1]).__name__ in ("Linear", "Affine")


def _read(file: str | Path) -> Any:
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a NIR file")
    try:
        import nir
    except ModuleNotFoundError as error:
        if error.name not in ("nir", "h5py"):
            raise
        raise ModuleNotFoundError("reading NIR files needs nir: pip install 'bitspike[nir]'", name=error.name) from None
    try:
        return nir.read(path)
    except Exception as error:  # whatever its reader raises for bytes that are no graph
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path} is not a readable NIR file: {first}") from None
