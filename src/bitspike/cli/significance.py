"""`bitspike significance`: which parameters tolerate how few bits."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING

from bitspike.cli.options import Download, Json, Quiet, Root, at_least, points
from bitspike.cli.output import Output, table
from bitspike.cli.program import command
from bitspike.wording import percent

if TYPE_CHECKING:
    from bitspike.explore import Space
    from bitspike.explore.significance import Significance

PICTURE, SPACE = "significance.png", "space.toml"


def significance(
    model: Path,
    /,
    *,
    data: str | None = None,
    within: str = "1%",
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
        within: how much accuracy one group may lose on its own in the proposed space, such as 1% (one point).
        validation: share of the train split for comparing, where the model's own recipe left none out.
        calibration: batches x samples that calibrate.
        seed: of everything random.
        workers: processes; the table is the same with any number.
        out: folder (default: runs/significance-MODEL); a stopped sweep goes on there.
    """
    from bitspike.atomic import atomic_write
    from bitspike.cli.exploring import (
        Progress,
        as_pair,
        data_name,
        model_name,
        picture,
        quantized_already,
        without_picture,
    )
    from bitspike.cli.opening import as_trained, data_for, model_path, open_model
    from bitspike.cli.stdp import stdp_file
    from bitspike.explore import significance as sweep
    from bitspike.explore.page import SIGNIFICANCE
    from bitspike.explore.plot import plot_significance

    at_least("--workers", workers)
    loss = points("--within", within)
    output = Output(json, quiet)
    if stdp_file(model) is not None:
        raise ValueError(
            f"{model} is an unsupervised network, whose widths are swept by bitspike explore --sampler one-at-a-time "
            "--try bits.weight=8,6,5,4,3 --try bits.membrane=16,12,10,8"
        )
    source = model_path(model)
    folder = Path("runs") / f"significance-{model_name(source)}" if out is None else out.expanduser()
    net, header, _ = open_model(model)
    if told := quantized_already(net, source):
        output.note(told)
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
        watch=Progress(output).changed,
    )
    space = found.space(loss)
    atomic_write(folder / SPACE, _as_toml(space).encode())
    atomic_write(folder / SIGNIFICANCE, (json_format.dumps(found.to_dict(), indent=1) + "\n").encode())
    drawn = picture(folder / PICTURE, lambda: plot_significance(found))
    _show(output, found)
    output.show(f"{folder / SPACE}: a space of {space.size:,} candidates")
    without_picture(output, drawn)
    output.hint(f"next: {command('explore', model, '--space', folder / SPACE)}")
    output.finish({"folder": str(folder), "picture": drawn, "space": space.to_dict(), **found.to_dict()})
    return 0


def _as_toml(space: Space) -> str:
    dumps = json_format.dumps
    lines = [f"{dumps(name)} = {dumps(list(values))}" for name, values in space.dimensions.items()]
    return "# What `bitspike significance` proposes to search.\n" + "\n".join(lines) + "\n"


def _show(output: Output, found: Significance) -> None:
    widths = sorted({bits for curve in found.curves for bits in curve.accuracy})
    rows = [(curve.name, *(percent(curve.accuracy.get(bits)) for bits in widths)) for curve in found.curves]
    columns = ("", *(str(bits) for bits in widths))
    output.show(table("accuracy by bits, all others at 8, thresholds at 16", columns, rows))
    output.show(f"{found.start} {percent(found.baseline.accuracy)}, 8 bits everywhere {percent(found.widest)}")
