"""`bitspike import`: a network trained elsewhere becomes a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bitspike.cli.options import Download, Json, Quiet, Root, at_least, refuse_given
from bitspike.cli.output import Output, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from torch import nn

    from bitspike.data import Dataset
    from bitspike.imports import ImportReport


def import_network(
    source: str,
    /,
    *,
    time_steps: Annotated[int, Parameter(name=("--time-steps", "-T"))],
    out: Path | None = None,
    input_shape: str | None = None,
    mean: str | None = None,
    std: str = "1",
    bound: int | None = None,
    dt: float = 1e-4,
    integration: str = "euler",
    reset: str = "hard",
    quant: str | None = None,
    data: str | None = None,
    samples: int = 64,
    seed: int = 0,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Bring a network trained elsewhere here: the same spikes, as a model file that every other command takes.

    SOURCE is a NIR file, or path.py:function or package.module:function: a function without arguments that returns a
    trained torch module with neurons of snnTorch or SpikingJelly. The function is run: your code, with all your rights.

    Every layer's spikes are compared with the source's; the first that differs, or has no equal here, is refused.

    Args:
        source: FILE.nir, path.py:function or package.module:function.
        time_steps: T, how many steps the network sees a sample for.
        out: the file to write (default: the source's name with .safetensors, in the working directory).
        input_shape: channels,height,width of a sample, such as 1,28,28; a NIR file may say it itself.
        mean: what the pixels, from 0 to 1, were normalized with; one number, or one per colour: 0.49,0.48,0.45
            (default: 0, or what a file of `export nir` says).
        std: the same for the deviation.
        bound: the largest event count, for a network that takes event counts (default: what a file of `export nir`
            says).
        dt: length of a time step in a NIR file's unit of time.
        integration: how a NIR file's time constants become steps: euler or exponential.
        reset: of a NIR file's neurons: hard, soft, or delayed (a file of snnTorch's Leaky).
        quant: quantize as well, such as 8w8u; neurons stay, leaks are rounded. With --data, batch norms are set anew.
        data: compare on samples of this data set (train split) instead of random ones.
        samples: how many.
        seed: which samples.
    """
    from bitspike.imports import import_nir, import_torch
    from bitspike.imports.from_nir import bound_told
    from bitspike.imports.loading import module_from
    from bitspike.nir.files import ENDINGS
    from bitspike.train import save_model

    at_least("--time-steps", time_steps)
    at_least("--samples", samples, 2)
    output = Output(json, quiet)
    path = Path(source).expanduser()
    if path.suffix == ".py":
        raise ValueError(f"{source} is Python; name the function in it that returns the network: {source}:FUNCTION")
    is_file = path.suffix in ENDINGS or path.is_file()
    if is_file and path.suffix in (".pt", ".pth", ".ckpt"):
        raise ValueError(f"{source} holds tensors, not what computes with them; give FILE.py:FUNCTION that loads them")
    if not is_file:
        changed = (("--dt", dt != 1e-4), ("--integration", integration != "euler"), ("--reset", reset != "hard"))
        refuse_given(changed, f"{source} is no NIR file, and a torch module's neurons say it themselves")
    file = Path(f"{_stem(source, path, is_file)}.safetensors") if out is None else out.expanduser()
    if file.suffix != ".safetensors":
        raise ValueError(f"--out is {file}; the name of a model file ends with .safetensors")
    if is_file and bound is None and mean is None:
        bound = bound_told(path)
    known = _data(data, time_steps, bound, data_root, download)
    shape = None if input_shape is None else [int(part) for part in _numbers("--input-shape", input_shape)]
    options: dict[str, Any] = {
        "std": _one_or_all(_numbers("--std", std)),
        "bound": bound,
        "samples": None if known is None else _some(known, samples, seed),
        "seed": seed,
    }
    if mean is not None:
        options["mean"] = _one_or_all(_numbers("--mean", mean))
    if is_file:
        options |= {"dt": dt, "integration": integration, "reset": reset}
        net = import_nir(path, time_steps, input_shape=shape, **options)
    else:
        if shape is None:
            raise ValueError("--input-shape is missing; a torch module does not say what it takes: 1,28,28, say")
        net = import_torch(module_from(source), shape, time_steps, **options)
    report: ImportReport = net.imported  # type: ignore[assignment]
    recalibrated = _quantize(net, quant, known, seed)
    save_model(net, file, _header(net, source, path if is_file else None, report))
    payload = {"source": source, "file": str(file), "bytes": file.stat().st_size, **report.to_dict()}
    _show(output, report, file, quant, recalibrated)
    output.finish(payload | {"quant": quant, "recalibrated": recalibrated})
    return 0


def _stem(source: str, path: Path, is_file: bool) -> str:
    """What the file is called where nobody says: as the NIR file, the Python file or the module."""
    home = source.rpartition(":")[0]
    stem = path.stem if is_file else Path(home).stem if home.endswith(".py") else home.rpartition(".")[2]
    return stem or "imported"


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.strip("[]()").split(",") if part.strip()]
    except ValueError:
        raise ValueError(f"{option} is {text!r}; give numbers with commas between them") from None


def _one_or_all(numbers: list[float]) -> float | list[float]:
    return numbers[0] if len(numbers) == 1 else numbers


def _data(name: str | None, steps: int, bound: int | None, root: Path | None, download: bool) -> Dataset | None:
    from bitspike.cli.data import known_name
    from bitspike.cli.opening import load_named
    from bitspike.data import dataset_kind

    if name is None:
        return None
    options = {} if dataset_kind(known_name(name)) == "images" else {"time_steps": steps, "bound": bound or 255}
    return load_named(name, "train", root=root, download=download, **options)


def _some(data: Dataset, count: int, seed: int) -> Any:
    from bitspike.drawing import drawn_batches

    return next(drawn_batches(data, 1, count, seed))


def _quantize(net: nn.Module, quant: str | None, data: Dataset | None, seed: int) -> bool:
    """Quantize where that is asked for; whether batch norms were set anew."""
    from bitspike.drawing import drawn_batches
    from bitspike.ptq import calibrate_

    if quant is None:
        return False
    batches = [] if data is None else list(drawn_batches(data, 8, 128, seed))
    return calibrate_(net, quant, batches, statistics=bool(batches)).batches > 0


def _header(net: nn.Module, source: str, file: Path | None, report: ImportReport) -> Any:
    import hashlib

    from bitspike.block.spec_of import spec_of
    from bitspike.train import ModelHeader
    from bitspike.train.provenance import versions

    options = {key: value for key, value in dict(vars(net)["model_options"]).items() if key != "spec"}
    imported: dict[str, Any] = {"source": source, **report.to_dict()}
    if file is not None:
        imported["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    provenance = {"versions": versions(), "import": imported}
    return ModelHeader("sequence", options, spec_of(net).to_dict(), provenance=provenance)


def _show(output: Output, report: ImportReport, file: Path, quant: str | None, recalibrated: bool) -> None:
    output.show(table("", report.COLUMNS, report.lines(), left=report.LEFT))
    output.show(f"{file}: {report.totals()}")
    for name in report.ignored:
        output.hint(f"note: {name} changes nothing in use and was left out")
    for note in report.notes:
        output.hint(f"note: {note}")
    if recalibrated:
        output.hint("note: batch norms were set anew for the quantized network")
    if quant is None:
        output.hint("it is in float still; --quant 8w8u quantizes it, then it goes on with lower and certify")
    else:
        output.hint(f"next: {command('evaluate', str(file), '--data', 'NAME')}, {command('lower', str(file))}")
