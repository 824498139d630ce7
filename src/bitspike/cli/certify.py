"""`bitspike certify`: the proof that all that runs a network computes the same, written into its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from bitspike.runtime import About, Certificate, Difference, IntegerNet


def certify(
    model: Path,
    /,
    *,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    samples: int = 256,
    no_c: Annotated[bool, Flag] = False,
    out: Path | None = None,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Prove on samples that reference, engine and exported C compute the same.

    Every spike, every stored membrane after every step and every logit are compared. The certificate is written into
    the integer network. At the first difference the exit code is 1, and nothing is written.

    Args:
        model: an integer network (.bsp, .nir), a model file (.safetensors), or the folder of a finished run.
        data: the data set; by default the one it was trained on.
        split: test or train.
        samples: how many samples, spread evenly over the split.
        no_c: leave out the C export, for which a C compiler is needed.
        out: write the certified network to this file (.bsp); by default a .bsp is changed in place.
    """
    from bitspike.cli.opening import data_for
    from bitspike.runtime import DifferenceFound
    from bitspike.runtime import certify as certify_net

    at_least("--samples", samples)
    target = None if out is None else out.expanduser()
    if target is not None and target.suffix != ".bsp":
        raise ValueError(f"--out is {target}; the name of an integer network ends with .bsp")
    output = Output(json, quiet)
    net, origin, about, path, is_file = _open(model)
    whole = data_for(origin, data, split, root=data_root, download=download)
    said = {"model": str(path), "data": whole.name, "split": split}
    try:
        with output.progress(f"{whole.name} {split}", min(samples, len(whole))) as advance:
            found = certify_net(net, whole, count=samples, compiled=not no_c, advance=advance)
    except DifferenceFound as error:
        return _differs(output, said, error.difference)
    written = _write(net, about, path if is_file else None, target, found)
    _show(output, found)
    output.show(f"certificate written into {written}" if written else _nothing_written(path))
    file = None if written is None else str(written)
    output.finish({**said, "certified": True, "difference": None, "file": file, "certificate": found.to_dict()})
    return 0


def _open(model: Path) -> tuple[IntegerNet, Any, About, Path, bool]:
    """The network, what data it takes, what its file says of it, where it lies, and whether that is a `.bsp`."""
    from bitspike.cli.lower import origin
    from bitspike.cli.opening import lowered, open_integers, open_model
    from bitspike.nir.files import is_nir_file

    found = open_integers(model)
    if found is not None:
        net, header, path = found
        return net, header, net.about, path, not is_nir_file(path)
    module, of_model, path = open_model(model)
    return lowered(module), of_model, origin(of_model, path), path, False


def _write(net: IntegerNet, about: About, file: Path | None, out: Path | None, found: Certificate) -> Path | None:
    """Into the file itself, or a new one; None where there is no file to write into."""
    from bitspike.integer.file import replace_certificate

    if out is not None:
        net.save(out, about=replace(about, certificate=found.to_dict()))
        return out
    if file is not None:
        replace_certificate(file, found.to_dict())
    return file


def _nothing_written(path: Path) -> str:
    example = command("certify", path, "--out", path.with_suffix(".bsp").name)
    return f"nothing was written, since only a .bsp holds a certificate; for an integer network: {example}"


def _differs(output: Output, said: dict[str, Any], difference: Difference) -> int:
    output.show(f"NOT certified, nothing was written. {difference}")
    output.finish({**said, "certified": False, "difference": difference.to_dict(), "file": None, "certificate": None})
    return 1


def _show(output: Output, found: Certificate) -> None:
    output.show(table("", found.COLUMNS, found.lines(), left=found.LEFT))
    for missing in found.missing:
        output.show(f"not compared: {missing}")
    output.show(found.verdict())
