"""`bitspike evaluate`: the accuracy of a trained network, in the form that ships."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bitspike.cli.options import Batch, Device, Download, Flag, Json, Quiet, Root, at_least, usable_device
from bitspike.cli.output import Output, percent, seconds, table

if TYPE_CHECKING:
    from torch import nn

    from bitspike.data import Dataset
    from bitspike.train import Evaluation, ModelHeader

Form = Literal["integer", "real", "float"]
Order = Literal["layers", "steps"]


def evaluate(
    model: Path,
    /,
    *,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    limit: int | None = None,
    form: Form | None = None,
    order: Order | None = None,
    batch: Batch = 64,
    confusion: Annotated[bool, Flag] = False,
    device: Device = "auto",
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Accuracy of a trained network on a data set, as integers.

    Where the model file holds a test accuracy for the very same samples, integers must reproduce it: else the
    exit code is 1.

    Args:
        model: a model file (.safetensors) that `train` or `demo` wrote, or the folder of a finished run.
        data: the data set; by default the one it was trained on.
        split: test or train.
        limit: only the first so many samples.
        form: integer (default: what ships), real (its exact twin in float64), float (networks of 32 bits).
        order: layers (all time steps of a layer at once) or steps (as a stream); the numbers are the same.
        confusion: show how often each class was taken for each other.
    """
    from bitspike.cli.opening import data_for, open_model

    at_least("--batch", batch)
    at_least("--limit", limit)
    output = Output(json, quiet)
    net, header, path = open_model(model)
    samples = data_for(header, data, split, root=data_root, download=download)
    if limit is not None:
        samples = samples.subset(slice(0, limit))
    chosen, where, found = _evaluate(net, samples, form, order, batch, device, output)
    stored = _stored_accuracy(header, samples)
    reproduced = None if stored is None else found.accuracy == stored
    payload: dict[str, Any] = {
        "model": str(path),
        "network": header.model,
        "data": samples.name,
        "split": split,
        "form": chosen,
        "order": (order or "layers") if chosen == "integer" else None,
        "engine": f"reference (torch, {where})",
        **found.to_dict(),
        "stored_accuracy": stored,
        "reproduced": reproduced,
    }
    if not confusion:
        del payload["confusion"]
    _show(output, payload, found, samples if confusion else None)
    output.finish(payload)
    # Floats may differ in the last bit between machines; integers may not.
    return 1 if reproduced is False and chosen == "integer" else 0


def _evaluate(
    net: nn.Module,
    samples: Dataset,
    form: Form | None,
    order: Order | None,
    batch: int,
    device: str,
    output: Output,
) -> tuple[Form, str, Evaluation]:
    """The form, the device and what was found."""
    from bitspike.block import real_form
    from bitspike.cli.opening import has_integer_form, lowered
    from bitspike.train import evaluate as evaluate_module
    from bitspike.train import evaluate_integers
    from bitspike.train.evaluate import check_fit

    check_fit(net, samples)
    chosen = _form(has_integer_form(net), form, order)
    place = usable_device(device)
    if chosen == "integer" and (order is not None or place.type == "cpu"):
        with output.progress(f"{samples.name} {samples.split}", len(samples)) as advance:
            return (
                chosen,
                "cpu",
                evaluate_integers(lowered(net), samples, batch=batch, order=order or "layers", advance=advance),
            )
    with real_form(net) if chosen == "real" else nullcontext():
        return chosen, str(place), evaluate_module(net.to(place), samples, batch=batch)


def _form(quantized: bool, form: Form | None, order: Order | None) -> Form:
    """The form to evaluate, refused where the network does not have it."""
    chosen: Form = form or ("integer" if quantized else "float")
    if chosen == "float" and quantized:
        raise ValueError("--form is float, but the network is quantized; its forms are integer and real")
    if chosen != "float" and not quantized:
        raise ValueError(f"--form is {chosen}, but the network has layers of 32 bits; its only form is float")
    if order is not None and chosen != "integer":
        raise ValueError(f"--order {order} is about the integer form, and this is the {chosen} form; leave it out")
    return chosen


def _stored_accuracy(header: ModelHeader, samples: Dataset) -> float | None:
    """The file's own test accuracy, if it was measured on these very samples."""
    if header.provenance.get("test_fingerprint") != samples.fingerprint:
        return None
    accuracy = header.results.get("test_accuracy")
    return None if accuracy is None else float(accuracy)


def _show(output: Output, payload: dict[str, Any], found: Evaluation, classes_of: Dataset | None) -> None:
    forms = {"integer": "as integers", "real": "in the real form", "float": "in floating point"}
    steps = ", step by step" if payload["order"] == "steps" else ""
    output.show(
        f"{percent(found.accuracy)} of {payload['data']} {payload['split']} {forms[payload['form']]}{steps}: "
        f"{found.correct:,} of {found.samples:,} samples in {seconds(found.seconds)}"
    )
    if payload["reproduced"]:
        output.show("the same as the model file says of these samples")
    elif payload["stored_accuracy"] is not None:
        output.show(f"NOT the same as the model file says of these samples: {percent(payload['stored_accuracy'])}")
    rates = [(name, percent(rate, 1)) for name, rate in found.firing_rates.items()]
    output.show(table("", ("layer", "firing rate"), rates))
    if classes_of is not None:
        names = classes_of.class_names or tuple(str(index) for index in range(classes_of.classes))
        rows = [(name, *(str(count) for count in row)) for name, row in zip(names, found.confusion, strict=True)]
        output.show(table("true class (rows), predicted (columns)", ("", *names), rows))
