"""`bitspike lower`: from a trained network to the file of its integers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitspike.cli.options import Json, Quiet
from bitspike.cli.output import Output, table
from bitspike.wording import size

if TYPE_CHECKING:
    from bitspike.integer.graph import Graph
    from bitspike.runtime import About
    from bitspike.train import ModelHeader


def lower(model: Path, /, *, out: Path | None = None, json: Json = False, quiet: Quiet = False) -> int:
    """Write the integer network of a trained network, as one small file.

    The file holds packed weights, thresholds and shifts, and says where it comes from. It is what evaluate, the
    engine and every export take.

    Args:
        model: a model file (.safetensors) that `train` or `demo` wrote, the folder of a finished run, or a NIR file
            that `export nir` wrote.
        out: the file to write (default: the model's name with .bsp, beside it).
    """
    from bitspike.cli.opening import lowered, open_integers, open_model
    from bitspike.nir.files import is_nir_file

    output = Output(json, quiet)
    opened = open_integers(model)
    if opened is not None and not is_nir_file(opened[2]):
        raise ValueError(f"{model} is an integer network already; give the model file that it was made from")
    if opened is not None:
        integers, _, source = opened
        about = integers.about
    else:
        net, header, source = open_model(model)
        integers, about = lowered(net), origin(header, source)
    target = source.with_suffix(".bsp") if out is None else out.expanduser()
    if target.suffix != ".bsp":
        raise ValueError(f"--out is {target}; the name of an integer network ends with .bsp")
    integers.save(target, about=about)
    layers = _layers(integers.graph)
    total = target.stat().st_size
    weights = sum(layer["bytes"] for layer in layers)
    payload = {
        "model": str(source),
        "file": str(target),
        "bytes": total,
        "weight_bytes": weights,
        "model_bytes": source.stat().st_size,
        "layers": layers,
        "provenance": about.provenance,
        "results": about.results,
        "notes": list(integers.notes),
    }
    rows = [
        (row["name"], "x".join(map(str, row["shape"])), row["grid"], str(row["bits"]), size(row["bytes"]))
        for row in layers
    ]
    output.show(table("", ("layer", "weights", "grid", "bits", ""), rows, left=(0, 1, 2)))
    output.show(
        f"{target}: {size(total)}, of them {size(weights)} weights ({source.name}: {size(payload['model_bytes'])}); "
        "the rest are thresholds and where it comes from"
    )
    for note in integers.notes:
        output.hint(f"note: {note}")
    output.finish(payload)
    return 0


def origin(header: ModelHeader, source: Path) -> About:
    """What the file says of itself, from the header of the model file.

    The history of the training stays there, and the recipe is not told twice.
    """
    import hashlib

    from bitspike.runtime import About
    from bitspike.train.provenance import versions

    known = dict(header.provenance)
    identity = known.pop("identity", None)
    provenance = {
        **known,
        "model": header.model,
        "options": header.options,
        "recipe": header.recipe,
        "data": identity.get("data") if isinstance(identity, Mapping) else None,
        "source": {"file": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest()},
        "lowered_with": versions()["bitspike"],
    }
    return About(provenance, {key: value for key, value in header.results.items() if key != "history"})


def _layers(graph: Graph) -> list[dict[str, Any]]:
    """Name, shape, grid, bits and packed bytes of all weights."""
    from bitspike.integer.graph import WeightedSkip

    found = {node.name: node.operator.weight for node in graph.spiking}
    found |= {f"{n.name}.skip": n.skip.operator.weight for n in graph.spiking if isinstance(n.skip, WeightedSkip)}
    found[graph.readout.name] = graph.readout.weight
    return [
        {
            "name": name,
            "shape": list(weight.shape),
            "grid": weight.grid,
            "bits": weight.bits,
            "bytes": weight.bits * math.ceil(math.prod(weight.shape) / 8),
        }
        for name, weight in found.items()
    ]
