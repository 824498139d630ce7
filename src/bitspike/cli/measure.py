"""`bitspike measure`: what a network costs, and how busy its layers are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bitspike.cli.options import Device, Download, Json, Quiet, Root, Settings, at_least, usable_device
from bitspike.cli.output import Output

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bitspike.cli.opening import Origin
    from bitspike.cost import CostTable, LayerActivity
    from bitspike.data import Dataset
    from bitspike.runtime import IntegerNet
    from bitspike.train import ModelHeader

_AT_ONCE = 32


@dataclass(frozen=True)
class Measured:
    """One network with everything measured on it."""

    table: CostTable
    activity: list[LayerActivity]
    notes: list[str]


def measure(
    model: str,
    /,
    *,
    spec: str | None = None,
    settings: Settings = None,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    samples: int | None = None,
    compare: str | None = None,
    batch: int = 1,
    plot: Path | None = None,
    device: Device = "cpu",
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Memory, operations, energy, bit-width utilization and activity of a network.

    Memory needs no data; firing rates, and the operations and energy that follow from them, are measured on
    samples (--data or --samples).

    Args:
        model: a model file, the folder of a finished run, an integer network (.bsp, .nir), or a name from `bitspike
            models`.
        spec: measure it in other bits, such as 1w2u or 32w32u.
        settings: change an argument of a network made by name, such as classes=100; can be repeated.
        data: measure firing rates on this data set.
        split: test or train.
        samples: how many samples, spread evenly over the split (default: 256).
        compare: another model of the same network; activity stands side by side, as before and after.
        batch: how many images are held at once; membranes grow with it.
        plot: draw the levels that every layer's weights use into this file (.png, .svg, .pdf); needs matplotlib.
        device: where the samples are computed (auto, cpu, cuda, cuda:0).
    """
    from bitspike.cli.measure_plot import check_plot, draw_utilization
    from bitspike.cli.measure_tables import show_measured
    from bitspike.cli.stdp import measure_stdp, refuse_foreign, stdp_file

    at_least("--samples", samples)
    at_least("--batch", batch)
    check_plot(plot)
    output = Output(json, quiet)
    unsupervised = stdp_file(Path(model)) if _is_file(model) else None
    if unsupervised is not None:
        refuse_foreign(
            device,
            (
                ("--spec", spec is not None),
                ("--set", bool(settings)),
                ("--compare", compare is not None),
                ("--batch", batch != 1),
                ("--plot", plot is not None),
            ),
        )
        return measure_stdp(
            output,
            unsupervised,
            data=data,
            split=split,
            samples=samples,
            data_root=data_root,
            download=download,
        )
    place = usable_device(device)
    header = _header(model)
    wanted = data is not None or samples is not None or compare is not None
    chosen = _samples(header, data, split, samples or 256, data_root, download) if wanted else None
    first = _measure(model, spec, settings, chosen, batch, place)
    second = None if compare is None else _measure(compare, spec, settings, chosen, batch, place)
    payload = _payload(model, first, compare, second, chosen)
    show_measured(output, first, second, chosen)
    if plot is not None:
        draw_utilization(plot, first.table, None if second is None else second.table)
        payload["plot"] = str(plot)
        output.hint(f"levels in use: {plot}")
    output.finish(payload)
    return 0


def _is_file(model: str) -> bool:
    """Whether a path is meant, not a registered name."""
    path = Path(model).expanduser()
    return path.exists() or path.suffix in (".safetensors", ".bsp") or len(path.parts) > 1


def _header(model: str) -> ModelHeader | Origin | None:
    """What a file says about itself; None for a name."""
    from bitspike.cli.opening import model_path, open_integers
    from bitspike.train import read_header

    if not _is_file(model):
        return None
    opened = open_integers(Path(model))
    return read_header(model_path(Path(model))) if opened is None else opened[1]


def _samples(
    header: ModelHeader | Origin | None, data: str | None, split: str, count: int, root: Path | None, download: bool
) -> Dataset:
    """That many samples of a file's data set, or of the one that is named."""
    from bitspike.cli.opening import data_for, load_named, some_of

    if header is not None:
        whole = data_for(header, data, split, root=root, download=download)
    elif data is not None:
        whole = load_named(data, split, root=root, download=download)
    else:
        raise ValueError("a network made by name has no data of its own; name a data set with --data")
    return some_of(whole, None, count)


def _build(model: str, spec: str | None, settings: list[str] | None, data: Dataset | None) -> nn.Module:
    """The network, in the bits that are asked for."""
    from bitspike.block import quantize_
    from bitspike.cli.opening import open_model
    from bitspike.model import create_model, model_defaults
    from bitspike.train.recipe_file import apply_override

    if _is_file(model):
        if settings:
            raise ValueError(f"--set {settings[0]} is for networks made by name; {model} is a file and complete")
        net = open_model(Path(model))[0]
        if spec is not None:
            quantize_(net, spec)
        return net
    known = model_defaults(model)
    options: dict[str, Any] = {}
    if data is not None:
        options = {"classes": data.classes, "input_shape": list(data.input_shape), "std": data.std, "bound": data.bound}
        options |= {"mean": list(data.mean) or None}
        options |= {} if data.time_steps is None else {"time_steps": data.time_steps}
        options = {key: value for key, value in options.items() if key in known}
    for setting in settings or ():
        apply_override(options, setting)
    return create_model(model, spec=spec or "32w32u", **options)


def _measure(
    model: str,
    spec: str | None,
    settings: list[str] | None,
    data: Dataset | None,
    batch: int,
    place: torch.device,
) -> Measured:
    from bitspike.cli.opening import has_integer_form, lowered, open_integers
    from bitspike.cost import CostTable
    from bitspike.measuring import activity, describe, firing_rates, time_steps_of

    opened = open_integers(Path(model)) if _is_file(model) else None
    if opened is not None:
        if spec is not None or settings:
            raise ValueError(f"{model} is an integer network and complete; --spec and --set are for other models")
        return _measure_integers(opened[0], opened[1].model or Path(model).stem, data, batch)
    net = _build(model, spec, settings, data)
    rates = None if data is None else firing_rates(net.to(place), _batches(net, data, place))
    net.cpu()
    name = str(getattr(net, "model_name", type(net).__name__))
    seen = None if data is None else data.time_steps
    table = CostTable(name, tuple(describe(net, rates)), time_steps=time_steps_of(net) or seen)
    notes: list[str] = []
    if has_integer_form(net):
        notes += lowered(net).notes
    else:
        notes.append("has layers of 32 bits: it runs in floating point and has no integer form")
    if not _is_file(model) and rates is not None:
        notes.append("the weights are random, so the firing rates say nothing about a trained network")
    return Measured(replace(table, batch=batch), [] if rates is None else activity(net, rates), notes)


def _measure_integers(net: IntegerNet, name: str, data: Dataset | None, batch: int) -> Measured:
    from bitspike.cost import CostTable
    from bitspike.cost.integers import activity_of_graph, describe_graph
    from bitspike.runtime.evaluation import check_samples
    from bitspike.runtime.rates import firing_rates

    entry = net.graph.input
    rates = None
    if data is not None:
        check_samples(data, "images" if entry.kind == "image" else "events", entry.shape, entry.time_steps)
        rates = firing_rates(net, (inputs for inputs, _ in data.batches(_AT_ONCE)))
    rows = tuple(describe_graph(net.graph, rates))
    seen = None if data is None else data.time_steps
    table = CostTable(name, rows, time_steps=entry.time_steps or seen, batch=batch)
    float_form = "its float form is taken to have had a batch norm in every spiking layer, and no other bias"
    return Measured(table, [] if rates is None else activity_of_graph(net.graph, rates), [*net.notes, float_form])


def _batches(net: nn.Module, data: Dataset, place: torch.device) -> list[torch.Tensor]:
    import torch

    from bitspike.train.evaluate import check_fit, network_input

    check_fit(net, data)
    whole = torch.from_numpy(data.inputs)
    return [network_input(part).to(place) for part in whole.split(_AT_ONCE)]


def _payload(
    model: str, first: Measured, compare: str | None, second: Measured | None, data: Dataset | None
) -> dict[str, Any]:
    from bitspike.cost import activity_change

    mine, plain = first.table.memory, first.table.float_memory
    payload = {
        "model": model,
        **first.table.to_dict(),
        "memory_ratio": plain.total / mine.total,
        "memory_ratio_largest": plain.total_largest / mine.total_largest,
        "activity": [row.to_dict() for row in first.activity],
        "data": None if data is None else data.name,
        "samples": 0 if data is None else len(data),
        "notes": first.notes,
    }
    if second is not None:
        payload["compare"] = {
            "model": compare,
            **second.table.to_dict(),
            "activity": activity_change(first.activity, second.activity),
            "notes": second.notes,
        }
    return payload
