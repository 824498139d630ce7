"""`bitspike prune`: whole channels leave a trained network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bitspike.cli.options import Device, Download, Json, Quiet, Root, at_least, usable_device
from bitspike.cli.output import Output, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from bitspike.prune import PruneReport
    from bitspike.train import ModelHeader

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


def prune(
    model: Path,
    /,
    *,
    ratio: Annotated[list[str] | None, Parameter(name="--ratio")] = None,
    preset: str | None = None,
    memory: str | None = None,
    parameters: str | None = None,
    operations: str | None = None,
    protect: Annotated[list[str] | None, Parameter(name="--protect")] = None,
    keep_at_least: str = "10%",
    multiple_of: int = 1,
    criterion: str = "svs",
    data: str | None = None,
    batches: int = 5,
    batch: int = 128,
    seed: int = 0,
    out: Path | None = None,
    device: Device = "auto",
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Remove the least important channels of a trained network; what is left is an ordinary smaller one.

    Say how much of every layer goes (--ratio, --preset), or what may be left (--memory, --parameters, --operations).
    Accuracy suffers until the network is trained a little more: bitspike train RECIPE --set start=FILE --out FOLDER.

    Args:
        model: a model file (.safetensors) that `train` wrote, or the folder of a finished run.
        ratio: share of the channels that goes, for all layers (0.5) or by name (stage2.*=0.5); can be repeated.
        preset: the ratios of a published table, such as qpsnn-resnet20-smaller.
        memory: at most so much, such as 400kB: weights, per-channel integers and all membranes.
        parameters: at most this share of the parameters, such as 25%.
        operations: at most this share of the dense operations, such as 60%.
        protect: layers, by name or pattern, that keep all their channels; can be repeated.
        keep_at_least: share of every layer's channels that stays, whatever the budget.
        multiple_of: layers keep all their channels or a multiple of this, such as 32 for the exported C.
        criterion: svs (singular values of spike maps), sca (membranes), magnitude (weights) or random.
        data: where the samples for scoring come from (default: what the network was trained on; the train split).
        batches: batches of samples that are scored.
        batch: samples in each.
        seed: which samples are drawn, and the order of criterion random.
        out: the file to write (default: the model's name with -pruned, beside it).
    """
    from bitspike.cli.opening import as_trained, data_for, open_integers, open_model
    from bitspike.prune import prune_
    from bitspike.train import save_model

    at_least("--batches", batches)
    at_least("--batch", batch)
    at_least("--multiple-of", multiple_of)
    output = Output(json, quiet)
    place = usable_device(device)
    if open_integers(model) is not None:
        raise ValueError(f"{model} is an integer network; prune the model file that it was made from, then lower that")
    ratios, target = _wanted(ratio, preset, {"memory": memory, "parameters": parameters, "operations": operations})
    net, header, source = open_model(model)
    file = source.with_name(f"{source.stem}-pruned.safetensors") if out is None else out.expanduser()
    if file.suffix != ".safetensors" or file.resolve() == source.resolve():
        raise ValueError(f"--out is {file}; give another file than the model's, its name ending with .safetensors")
    samples = None
    if criterion in ("svs", "sca") or data is not None:
        samples, _ = as_trained(data_for(header, data, "train", root=data_root, download=download), header)
    report = prune_(
        net.to(place),
        samples,
        ratios=ratios,
        target=target,
        criterion=criterion,
        protect=tuple(protect or ()),
        keep_at_least=_share("--keep-at-least", keep_at_least),
        multiple_of=multiple_of,
        batches=batches,
        batch=batch,
        seed=seed,
    )
    before = {key: value for key, value in header.results.items() if key != "history"}
    how = {"criterion": criterion, "seed": seed, "batches": batches, "batch": batch}
    results = {"before_pruning": before, "pruning": report.to_dict() | how}
    save_model(net.cpu(), file, replace(header, results=results))
    _show(output, report, file, _recipe_of(header))
    output.finish({"model": str(source), "file": str(file), "bytes": file.stat().st_size, **report.to_dict(), **how})
    return 0


def _wanted(
    ratios: list[str] | None, preset: str | None, limits: dict[str, str | None]
) -> tuple[dict[str, float] | str | None, dict[str, Any] | None]:
    """What the options ask for, in the terms of `prune_`."""
    given = {name: text for name, text in limits.items() if text is not None}
    named = [*(["--ratio"] if ratios else []), *(["--preset"] if preset else []), *(f"--{name}" for name in given)]
    if len(named) != 1:
        said = f"{' and '.join(named)} were given" if named else "nothing was given"
        raise ValueError(f"{said}; give one of --ratio, --preset, --memory, --parameters, --operations")
    if ratios:
        pairs = [_ratio(text) for text in ratios]
        if len(dict(pairs)) < len(pairs):
            raise ValueError(
                f"--ratio {' --ratio '.join(ratios)}: the same layers are named twice; give one share each"
            )
        return dict(pairs), None
    if preset:
        return preset, None
    ((name, text),) = given.items()
    return None, {name: _bytes(text) if name == "memory" else _share(f"--{name}", text)}


def _ratio(text: str) -> tuple[str, float]:
    pattern, equals, number = text.rpartition("=")
    return (pattern if equals else "*"), _share("--ratio", number)


def _share(option: str, text: str) -> float:
    """A number such as 0.25, or 25%."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"{option} is {text!r}; give a share such as 0.25 or 25%") from None


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9.]+)\s*([a-zA-Z]*)", text.strip())
    try:
        if found is None:
            raise KeyError(text)
        return int(float(found[1]) * _UNITS[found[2].lower()])
    except (KeyError, ValueError):
        raise ValueError(
            f"--memory is {text!r}; give bytes, such as 400000, 400kB or 1.5MB (1 kB = 1000 bytes)"
        ) from None


def _recipe_of(header: ModelHeader) -> str:
    """The name that `bitspike train` knows the network's recipe by."""
    from bitspike.train import list_recipes

    name = str((header.recipe or {}).get("name"))
    return name if name in list_recipes() else "RECIPE"


def _show(output: Output, report: PruneReport, file: Path, recipe: str) -> None:
    output.show(table("", report.COLUMNS, report.lines()))
    output.show(f"{file}: {report.totals()}")
    output.hint(f"train it a little more: {command('train', recipe, '--set', f'start={file}', '--out', 'FOLDER')}")
