"""`bitspike significance`: which parameters tolerate how few bits."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING

from bitspike.cli.options import Download, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, percent, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from bitspike.explore import Space
    from bitspike.explore.significance import Significance

TABLE, PICTURE, SPACE = "significance.json", "significance.png", "space.toml"


def significance(
    model: Path,
    /,
    *,
    data: str | None = None,
    within: float = 0.01,
    validation: float = 0.1,
    calibration: str = "4x128",
    seed: int = 0,
    workers: int = 1,
    out: Path | None = None,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Sweep the bits of one group of parameters, and of one layer, at a time, all others at 8 bits.

    Written are the table, a picture, and the space that follows from it for `bitspike explore --space`.

    Args:
        model: a model file (.safetensors) of a float network, or the folder of a finished run.
        data: the data set; by default the one it was trained on.
        within: how much accuracy one group may lose on its own, for the proposed space.
        validation: share of the train split for comparing, where the model's own recipe left none out.
        calibration: batches x samples that calibrate.
        seed: of everything random.
        workers: processes; the table is the same with any number.
        out: folder (default: runs/significance-MODEL); a stopped sweep goes on there.
    """
    from bitspike.atomic import atomic_write
    from bitspike.cli.explore import as_pair, data_name, model_name
    from bitspike.cli.opening import as_trained, data_for, model_path, open_model
    from bitspike.explore.significance import significance as sweep

    at_least("--workers", workers)
    output = Output(json, quiet)
    source = model_path(model)
    folder = Path("runs") / f"significance-{model_name(source)}" if out is None else out.expanduser()
    net, header, _ = open_model(model)
    whole = data_for(header, data_name(source, data), "train", root=data_root, download=download)
    training, held = as_trained(whole, header)
    count, each = as_pair(calibration)
    found = sweep(
        net,
        training,
        validation=validation if held is None else held,
        calibration=(count, each),
        seed=seed,
        workers=workers,
        out=folder,
    )
    space = found.space(within)
    atomic_write(folder / SPACE, _as_toml(space).encode())
    atomic_write(folder / TABLE, (json_format.dumps(found.to_dict(), indent=1) + "\n").encode())
    picture = _picture(found, folder)
    _show(output, found)
    output.show(f"{folder / SPACE}: a space of {space.size:,} candidates")
    output.hint(f"next: {command('explore', model, '--space', folder / SPACE)}")
    output.finish({"folder": str(folder), "picture": picture, "space": space.to_dict(), **found.to_dict()})
    return 0


def _as_toml(space: Space) -> str:
    lines = [
        f"{json_format.dumps(name)} = {json_format.dumps(list(values))}" for name, values in space.dimensions.items()
    ]
    return "# What `bitspike significance` proposes to search.\n" + "\n".join(lines) + "\n"


def _picture(found: Significance, folder: Path) -> str | None:
    from bitspike.atomic import atomic_write
    from bitspike.explore.plot import plot_significance

    try:
        drawn = plot_significance(found)
    except ModuleNotFoundError:
        return None
    atomic_write(folder / PICTURE, drawn)
    return str(folder / PICTURE)


def _show(output: Output, found: Significance) -> None:
    widths = sorted({bits for curve in found.curves for bits in curve.accuracy})
    rows = [(curve.name, *(percent(curve.accuracy.get(bits)) for bits in widths)) for curve in found.curves]
    output.show(table("accuracy by bits, all others at 8", ("", *(str(bits) for bits in widths)), rows))
    output.show(f"float network {percent(found.baseline.accuracy)}, 8 bits everywhere {percent(found.widest)}")
