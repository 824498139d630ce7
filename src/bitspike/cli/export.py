"""`bitspike export`: a finished network in the form that other places take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bitspike.cli.opening import Origin
    from bitspike.data import Dataset
    from bitspike.export import ExportReport
    from bitspike.nir import NirReport
    from bitspike.runtime import IntegerNet
    from bitspike.train import ModelHeader

_EXAMPLES = """\
Examples:
  bitspike export c model.bsp firmware/
  bitspike export c runs/qsnn-digits-1w2u firmware/ --data digits --samples 4
  bitspike export c model.safetensors firmware/ --name digits --force --json
  bitspike export nir model.bsp model.nir
  bitspike export nir runs/qsnn-digits-1w2u digits.nir --data digits --samples 500"""

app = App(name="export", help_epilogue=_EXAMPLES, help_format="plaintext", default_parameter=Parameter(negative=()))


@app.command
def c(
    model: Path,
    out: Path,
    /,
    *,
    name: str | None = None,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    samples: int = 2,
    force: Annotated[bool, Flag] = False,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write C99 sources for a microcontroller: no library, no allocation, no floating point.

    The folder holds the network, a Makefile, an example, a self-test with samples in it, and start-up code for four
    Cortex-M boards.

    Args:
        model: an integer network (.bsp, .nir), a model file (.safetensors), or the folder of a finished run.
        out: the folder to write, new or empty.
        name: prefix of the C functions and files (default: the model's name); not for unsupervised networks.
        data: take the self-test's samples from this data set (default: random samples).
        split: test or train.
        samples: how many samples the self-test holds.
        force: write over an earlier export; the network in it goes.
    """
    from bitspike.cli.opening import data_for
    from bitspike.cli.stdp import export_stdp, stdp_file
    from bitspike.export import c_name, export_c, random_samples

    at_least("--samples", samples)
    output = Output(json, quiet)
    unsupervised = stdp_file(model)
    if unsupervised is not None:
        if name is not None:
            raise ValueError(
                f"--name is {name}; the C of an unsupervised network has names of its own (stdp_init, stdp_network.h): "
                "leave --name out"
            )
        return export_stdp(
            output,
            unsupervised,
            out,
            data=data,
            split=split,
            samples=samples,
            force=force,
            data_root=data_root,
            download=download,
        )
    net, header, path = _open(model)
    if data is None:
        chosen = random_samples(net.graph, samples)
    else:
        whole = data_for(header, data, split, root=data_root, download=download)
        chosen, _ = _spread(whole, net, samples)
    report = export_c(net, out, name=name or c_name(path.stem), samples=chosen, overwrite=force)
    _show(output, report)
    output.finish({"model": str(path), "data": data, **report.to_dict()})
    return 0


@app.command
def nir(
    model: Path,
    out: Path,
    /,
    *,
    dt: float = 1e-4,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    samples: int = 256,
    force: Annotated[bool, Flag] = False,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Write a NIR file, for other tools: real values in its nodes, the integers themselves in their metadata.

    `lower`, `evaluate`, `measure`, `certify` and the exports take the file as the same integer network. A tool that
    reads NIR's own equations computes with membranes that are neither rounded nor clamped; --data tells how near that
    comes.

    Args:
        model: an integer network (.bsp, .nir), a model file (.safetensors), or the folder of a finished run.
        out: the file to write, say model.nir.
        dt: the length of a time step in seconds; other tools must be told if it is another than 0.0001.
        data: compare NIR's real values with the integers on this data set.
        split: test or train.
        samples: how many samples, spread evenly over the split.
        force: write over an earlier file.
    """
    from bitspike.cli.opening import data_for
    from bitspike.cli.stdp import stdp_file
    from bitspike.nir import export_nir

    at_least("--samples", samples)
    output = Output(json, quiet)
    if stdp_file(model) is not None:
        raise ValueError(f"{model} is an unsupervised network; NIR has no nodes for neurons that compete")
    net, header, path = _open(model)
    chosen = None
    if data is not None:
        whole = data_for(header, data, split, root=data_root, download=download)
        chosen = _spread(whole, net, samples)
    report = export_nir(net, out, dt=dt, overwrite=force)
    output.show(f"{report.file}: {report.bytes:,} bytes, {report.nodes} nodes, a step is {report.dt:g} s")
    steps = "every step" if net.graph.input.time_steps is None else f"each of {net.graph.input.time_steps} steps"
    output.show(f"its input at {steps}: {report.takes}; its logits: the mean of its outputs")
    nearness = None if chosen is None else _nearness(output, net, report, *chosen)
    if report.approximate:
        names = ", ".join(name for name, _ in report.approximate)
        output.hint(f"by NIR's own equations {names} can give other spikes: {report.approximate[0][1]}")
    if nearness is None:
        output.hint("how near that comes, --data tells; bitspike itself reads the integers, with nothing lost")
    output.finish({"model": str(path), "data": data, **report.to_dict(), "real_values": nearness})
    return 0


def _nearness(
    output: Output, net: IntegerNet, report: NirReport, inputs: NDArray[np.uint8], labels: NDArray[np.int64]
) -> dict[str, Any]:
    """The table of how the real values of a file differ from the integers, and the same for JSON."""
    from bitspike.imports import compare_nir

    found = compare_nir(report.file, net, inputs, dt=report.dt)
    rows = [(layer.name, f"{layer.firing:.2%}", f"{layer.differing:.2%}") for layer in found.layers]
    output.show(table("", ("layer", "firing", "other spikes in NIR's equations"), rows))
    accuracy = float((net.predict(inputs).argmax(1) == labels).mean())
    real = float((found.classes == labels).mean())
    output.show(
        f"{found.samples:,} samples: {accuracy:.2%} right as integers, {real:.2%} by NIR's equations; "
        f"{found.agreeing:.2%} in the same class"
    )
    return {**found.to_dict(), "accuracy": real, "integer_accuracy": accuracy}


def _open(model: Path) -> tuple[IntegerNet, Origin | ModelHeader, Path]:
    from bitspike.cli.opening import lowered, open_integers, open_model

    found = open_integers(model)
    if found is not None:
        return found
    net, header, path = open_model(model)
    return lowered(net), header, path


def _spread(data: Dataset, net: IntegerNet, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """That many samples as the network takes them and their labels, evenly spread, since files are often sorted."""
    import numpy as np

    entry = net.graph.input
    events = entry.kind == "events"
    if data.inputs.ndim != (5 if events else 4) or data.inputs.shape[-3:] != entry.shape:
        raise ValueError(
            f"{data.name} brings samples of shape {list(data.inputs.shape[1:])}; the network takes {entry.kind} of "
            f"{list(entry.shape)}"
        )
    places = np.unique(np.linspace(0, len(data) - 1, min(count, len(data))).round().astype(int))
    chosen = data.inputs[places]
    return np.moveaxis(chosen, 1, 0) if events else chosen, data.labels[places]


def _show(output: Output, report: ExportReport) -> None:
    rows = [
        ("memory, static", f"{report.ram_bytes:,}"),
        ("memory with BITSPIKE_REUSE_INPUT=1", f"{report.ram_bytes_reuse:,}"),
        ("weights", f"{report.weight_bytes:,}"),
        ("all constant data", f"{report.constant_bytes:,}"),
    ]
    output.show(f"{report.folder}: {len(report.files)} files; functions {report.name}_init, _step, _logits, _argmax")
    output.show(table("", ("", "bytes"), rows))
    output.hint(f"code and stack come on top; next: make -C {report.folder} test")
