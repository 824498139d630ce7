"""`bitspike evaluate`: the accuracy of a trained network, in the form that ships."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bitspike.cli.options import Batch, Device, Download, Flag, Json, Quiet, Root, at_least, usable_device
from bitspike.cli.output import Output, table
from bitspike.wording import percent, seconds

if TYPE_CHECKING:
    from torch import nn

    from bitspike.cli.opening import Origin
    from bitspike.data import Dataset
    from bitspike.runtime import Evaluation, IntegerNet
    from bitspike.train import ModelHeader


Form = Literal["integer", "real", "float"]
Order = Literal["layers", "steps"]
BATCH = 64


def evaluate(
    model: Path,
    /,
    *,
    data: str | None = None,
    split: Literal["test", "train"] = "test",
    limit: int | None = None,
    samples: int | None = None,
    form: Form | None = None,
    order: Order | None = None,
    batch: Batch = BATCH,
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
        model: a model file (.safetensors) that `train` or `demo` wrote, the folder of a finished run, or an integer
            network (.bsp) that `lower` wrote.
        data: the data set; by default the one it was trained on.
        split: test or train.
        limit: only the first so many samples.
        samples: only so many, spread evenly over the split.
        form: integer (default: what ships), real (its exact twin in float64), float (networks of 32 bits).
        order: layers (all time steps of a layer at once) or steps (as a stream); the numbers are the same.
        confusion: show how often each class was taken for each other.
    """
    from bitspike.cli.opening import data_for, open_integers, open_model, some_of
    from bitspike.cli.stdp import evaluate_stdp, refuse_foreign, stdp_file

    at_least("--batch", batch)
    at_least("--limit", limit)
    at_least("--samples", samples)
    output = Output(json, quiet)
    unsupervised = stdp_file(model)
    if unsupervised is not None:
        if form not in (None, "integer"):
            raise ValueError(f"--form is {form}, but an unsupervised network has the form it learned in, no other")
        refuse_foreign(device, (("--order", order is not None), ("--batch", batch != BATCH)))
        return evaluate_stdp(
            output,
            unsupervised,
            data=data,
            split=split,
            limit=limit,
            count=samples,
            confusion=confusion,
            data_root=data_root,
            download=download,
        )
    net, header, path = open_integers(model) or open_model(model)
    chosen = some_of(data_for(header, data, split, root=data_root, download=download), limit, samples)
    engine, found = _evaluate(net, chosen, form, order, batch, device, output)
    stored = _stored_accuracy(header, chosen)
    reproduced = None if stored is None else found.accuracy == stored
    payload: dict[str, Any] = {
        "model": str(path),
        "network": header.model,
        "data": chosen.name,
        "split": split,
        "form": found.form,
        "order": (order or "layers") if found.form == "integer" else None,
        "engine": engine,
        **found.to_dict(),
        "stored_accuracy": stored,
        "reproduced": reproduced,
    }
    if not confusion:
        del payload["confusion"]
    payload["certified"], certificate = _certified(net) or (None, "")
    _show(output, payload, found, chosen if confusion else None)
    if certificate:
        output.show(certificate if payload["certified"] else f"warning: {certificate}")
    output.finish(payload)
    # Floats may differ in the last bit between machines; integers may not.
    return 1 if reproduced is False and found.form == "integer" else 0


def _evaluate(
    net: nn.Module | IntegerNet,
    samples: Dataset,
    form: Form | None,
    order: Order | None,
    batch: int,
    device: str,
    output: Output,
) -> tuple[str, Evaluation]:
    """What computed it, and what was found."""
    from bitspike.runtime import IntegerNet

    if isinstance(net, IntegerNet):
        if form not in (None, "integer"):
            raise ValueError(f"--form is {form}, but the file holds the integer form alone; give its model file")
        if device not in ("auto", "cpu"):
            raise ValueError(f'--device is "{device}", but integer networks run on the CPU; give auto or cpu')
        return _evaluate_integers(net, samples, order, batch, output)
    return _evaluate_module(net, samples, form, order, batch, device, output)


def _evaluate_module(
    net: nn.Module,
    samples: Dataset,
    form: Form | None,
    order: Order | None,
    batch: int,
    device: str,
    output: Output,
) -> tuple[str, Evaluation]:
    from bitspike.block import real_form
    from bitspike.cli.opening import has_integer_form, lowered
    from bitspike.train import evaluate as evaluate_module
    from bitspike.train.evaluate import check_fit

    check_fit(net, samples)
    chosen = _form(has_integer_form(net), form, order)
    place = usable_device(device)
    if chosen == "integer" and (order is not None or place.type == "cpu"):
        return _evaluate_integers(lowered(net), samples, order, batch, output)
    with real_form(net) if chosen == "real" else nullcontext():
        return f"reference (torch, {place})", evaluate_module(net.to(place), samples, batch=batch)


def _evaluate_integers(
    net: IntegerNet, samples: Dataset, order: Order | None, batch: int, output: Output
) -> tuple[str, Evaluation]:
    from bitspike.runtime import evaluate_integers
    from bitspike.runtime.evaluation import engine_name

    with output.progress(f"{samples.name} {samples.split}", len(samples)) as advance:
        found = evaluate_integers(net, samples, batch=batch, order=order or "layers", advance=advance)
    return engine_name(net), found


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


def _stored_accuracy(header: ModelHeader | Origin, samples: Dataset) -> float | None:
    """The file's own test accuracy, if it was measured on these very samples."""
    if header.provenance.get("test_fingerprint") != samples.fingerprint:
        return None
    accuracy = header.results.get("test_accuracy")
    return float(accuracy) if isinstance(accuracy, int | float) else None


def _certified(net: nn.Module | IntegerNet) -> tuple[bool, str] | None:
    """Whether the file's certificate holds for its network, and that in words; None without one."""
    from bitspike.runtime import IntegerNet
    from bitspike.runtime.certificate import certificate_in_words

    if not isinstance(net, IntegerNet) or net.about.certificate is None:
        return None
    return certificate_in_words(net.graph, net.about.certificate)


def _show(output: Output, payload: dict[str, Any], found: Evaluation, classes_of: Dataset | None) -> None:
    from bitspike.runtime.evaluation import FORMS

    steps = ", step by step" if payload["order"] == "steps" else ""
    output.show(
        f"{percent(found.accuracy)} of {payload['data']} {payload['split']} {FORMS[found.form]}{steps}: "
        f"{found.correct:,} of {found.samples:,} samples in {seconds(found.seconds)}"
    )
    if payload["reproduced"]:
        output.show("the same as the file says of these samples")
    elif payload["stored_accuracy"] is not None:
        output.show(f"NOT the same as the file says of these samples: {percent(payload['stored_accuracy'])}")
    rates = [(name, percent(rate, 1)) for name, rate in found.firing_rates.items()]
    output.show(table("", ("layer", "firing rate"), rates))
    if classes_of is not None:
        names = classes_of.class_names or tuple(str(index) for index in range(classes_of.classes))
        rows = [(name, *(str(count) for count in row)) for name, row in zip(names, found.confusion, strict=True)]
        output.show(table("true class (rows), predicted (columns)", ("", *names), rows))
