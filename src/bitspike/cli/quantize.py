"""`bitspike quantize`: a trained float network, quantized by what a few samples tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, table
from bitspike.cli.program import command
from bitspike.wording import percent, ratio, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from bitspike.block.spec_of import LayerState
    from bitspike.ptq import Calibration


def quantize(
    model: Path,
    spec: str,
    /,
    *,
    settings: Annotated[list[str] | None, Parameter(name="--set")] = None,
    data: str | None = None,
    samples: int = 512,
    seed: int = 0,
    keep_statistics: Annotated[bool, Flag] = False,
    out: Path | None = None,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Quantize a trained float network without training it; leaks, thresholds and resets stay what they are.

    Batch-norm statistics are estimated anew on some samples of the train split. Then evaluate, lower, certify and
    export take the result like any other network. To search for the best way: bitspike explore.

    Args:
        model: a model file (.safetensors) of a float network, or the folder of a finished run.
        spec: bits of hidden weights and membranes, such as 4w4u; the ends get 8.
        settings: a field of the description, such as ends.bits=4, weight.scale=mse, weight.rounding=floor,
            membrane.range=mse, override.conv2.weight.bits=2; can be repeated.
        data: the data set; by default the one it was trained on.
        samples: how many of its train split calibrate.
        seed: which samples are drawn, and the noise of stochastic rounding.
        keep_statistics: leave the batch norms as they are.
        out: the file to write (default: the model's name with the bits, beside it).
    """
    from bitspike.block.spec_of import layer_states
    from bitspike.cli.opening import as_trained, data_for, has_integer_form, open_integers, open_model
    from bitspike.drawing import check_draw, drawn_batches
    from bitspike.explore.setting import seeded
    from bitspike.measuring import measure
    from bitspike.ptq import SpecChange, calibrate_, wanted_specs
    from bitspike.train import save_model

    at_least("--samples", samples)
    output = Output(json, quiet)
    if open_integers(model) is not None:
        raise ValueError(f"{model} is an integer network already; give the model file of the float network")
    change = seeded(SpecChange.of(_table_of(spec, settings or [])), seed)
    net, header, source = open_model(model)
    if not all(state.is_float for state in layer_states(net).values()):
        output.note(f"note: {source} is quantized already; what is given here goes on top of that")
    file = source.with_name(f"{source.stem}-{spec}.safetensors") if out is None else out.expanduser()
    if file.suffix != ".safetensors" or file.resolve() == source.resolve():
        raise ValueError(f"--out is {file}; give another file than the model's, its name ending with .safetensors")
    drawn = None
    batches: list[Tensor] = []
    if not keep_statistics or any(item.range for item in wanted_specs(net, change).values()):
        drawn, _ = as_trained(data_for(header, data, "train", root=data_root, download=download), header)
        check_draw(net, drawn, 1, 1, "quantize")
        if samples > len(drawn):
            raise ValueError(f"--samples is {samples}; {drawn.name} has {len(drawn)} that the network was trained on")
        batches = list(_in_batches(next(drawn_batches(drawn, 1, samples, seed))))
    found = calibrate_(net, change, batches, statistics=not keep_statistics)
    states = layer_states(net)
    if all(state.is_float for state in states.values()):
        raise ValueError(f"{spec} leaves every layer in floats; give bits such as 4w4u")
    cost = measure(net.eval())
    quant = found.spec.to_dict()
    recipe = None if header.recipe is None else {**header.recipe, "quant": quant}
    start = {key: value for key, value in header.results.items() if key != "history"}
    looked_at = {} if drawn is None else {"data": drawn.fingerprint, "samples": samples}
    calibrated = {**looked_at, "seed": seed, "ranges": found.ranges}
    provenance = {**header.provenance, "calibration": calibrated}
    save_model(net, file, replace(header, quant=quant, recipe=recipe, provenance=provenance, results={"start": start}))
    _show(output, found, states)
    total, plain = cost.memory.total, cost.float_memory.total
    output.show(f"{file}: memory {size(total)}, in floats {size(plain)}: {ratio(plain, total)} smaller")
    if not has_integer_form(net):
        output.show("no integer form yet: it needs bits for all weights and membranes, such as 4w4u")
    if start.get("test_accuracy") is not None:
        output.hint(f"the network it was made from had {percent(start['test_accuracy'])} on its test split")
    output.hint(f"next: {command('evaluate', file, '--data', drawn.name if drawn else 'NAME')}")
    output.finish(
        {
            "model": str(source),
            "file": str(file),
            "memory": cost.memory.to_dict(),
            "float_memory": cost.float_memory.to_dict(),
            **found.to_dict(),
        }
    )
    return 0


def _table_of(spec: str, settings: list[str]) -> dict[str, Any]:
    """A recipe's `quant` table: bits, and single fields on top."""
    from bitspike.explore.space import split_name
    from bitspike.train.recipe_file import value_of

    found: dict[str, Any] = {"bits": spec}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"--set {setting}: give NAME=VALUE, such as weight.scale=mse or ends.bits=4")
        *tables, last = split_name(name.strip())
        here = found
        for part in tables:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise ValueError(f"--set {setting}: {part} is {here!r} and has no fields")
        here[last] = value_of(text.strip())
    return found


def _in_batches(samples: Tensor) -> Iterator[Tensor]:
    """Images [B, C, H, W] or events [T, B, C, H, W], 128 of them at a time."""
    yield from samples.split(128, dim=samples.ndim - 4)


def _show(output: Output, found: Calibration, states: Mapping[str, LayerState]) -> None:
    rows = []
    for name, state in states.items():
        weight, membrane = state.layer.weight, state.layer.membrane
        grid = f"{weight.grid}, {weight.scale}" if not weight.is_float else "float"
        stored, leak = (str(membrane.bits), str(membrane.leak)) if state.spiking else ("", "")
        reach = f"{found.ranges[name]:.3g}" if name in found.ranges else ""
        rows.append((name, str(weight.bits), grid, stored, reach, leak))
    output.show(table("", ("layer", "weights", "grid", "membrane", "range", "leak"), rows, left=(0, 2)))
    for name, (before, after) in found.leaks.items():
        output.show(f"{name}: leak {float(before):g} became {after} = {float(after):g}, which shifts can express")
