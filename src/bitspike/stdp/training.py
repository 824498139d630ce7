"""A run from images to a labelled network: passes over the data, then labels, then the test split, once."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data import Dataset, split_validation
from bitspike.interrupt import StopRequest, TrainingStopped
from bitspike.locking import own_folder
from bitspike.stdp.evaluate import StdpEvaluation, evaluate
from bitspike.stdp.file import load, load_state, save, save_state
from bitspike.stdp.network import StdpNetwork
from bitspike.stdp.randomness import ORDER, words
from bitspike.stdp.recipe import StdpRecipe

MODEL_FILE = "model.bsp"
STATE_FILE = "state.bsp"
_AT_ONCE = 250

Told = Callable[[str, int, int], None]
"""What is done, how many images of it, of how many."""


@dataclass(frozen=True)
class StdpResult:
    """A finished run: the labelled network, and what was found of it (also in its `about`)."""

    network: StdpNetwork
    results: dict[str, Any]
    model_file: Path | None
    resumed: bool


def order_of_pass(seed: int, number: int, count: int) -> NDArray[np.intp]:
    """The order of images in a pass: by two random words of (seed, ORDER; pass, 0, image)."""
    first, second, _, _ = words(seed, ORDER, number, 0, np.arange(count, dtype=np.uint32))
    return np.argsort(first.astype(np.uint64) << np.uint64(32) | second, kind="stable")


def train_stdp(
    recipe: StdpRecipe,
    data: Dataset,
    *,
    test: Dataset | None = None,
    out: str | Path | None = None,
    resume: bool = True,
    save_every: float = 60.0,
    threads: int | None = None,
    told: Told = lambda *_: None,
) -> StdpResult:
    """Learn, label and evaluate; a run stopped in `out` goes on there, to the same result bit for bit.

    threads: how many give the neurons their classes and evaluate, None for one a core; learning takes one.
    """
    identity = {"recipe": json.loads(json.dumps(recipe.to_dict())), "data": data.fingerprint}
    folder = None if out is None else Path(out)
    with own_folder(folder):
        if folder is not None and resume and (folder / MODEL_FILE).is_file():
            return _finished(folder, identity, test, threads, told)
        refuse_other_images(recipe, data)
        rest, held = split_validation(data, count=recipe.validation) if recipe.validation else (data, None)
        network, progress = StdpNetwork(recipe.network), {"seconds": 0.0, "cpu_seconds": 0.0, "history": []}
        resumed = False
        if folder is not None and resume and (folder / STATE_FILE).is_file():
            network, stored, progress = load_state(folder / STATE_FILE)
            _refuse_other_run(folder, stored, identity)
            resumed = True
        _learn(recipe, rest, held, network, progress, identity, folder, save_every, threads, told)
        _label(recipe, rest, network, threads, told)
        results = _results(recipe, network, progress, held, test, threads, told)
        network.about = {"recipe": identity["recipe"], "data": _told_of(data, test), "results": results}
        if folder is not None:
            save(network, folder / MODEL_FILE)
            (folder / STATE_FILE).unlink(missing_ok=True)
        return StdpResult(network, results, None if folder is None else folder / MODEL_FILE, resumed)


def refuse_other_images(recipe: StdpRecipe, data: Dataset) -> None:
    """Raise unless the data are images of the network's size."""
    size = int(np.prod(data.input_shape))
    if data.kind != "images":
        raise ValueError(f"{data.name} are events; the unsupervised network learns from images, such as mnist")
    if size != recipe.network.inputs:
        raise ValueError(
            f"{data.name} has {size} pixels an image, but the network {recipe.network.inputs} inputs; "
            f"set network.inputs={size} and network.norm={0.1 * size:g}"
        )
    if recipe.validation >= len(data):
        raise ValueError(f"stdp.validation is {recipe.validation}, but there are {len(data)} images; give fewer")


def _learn(
    recipe: StdpRecipe,
    rest: Dataset,
    held: Dataset | None,
    network: StdpNetwork,
    progress: dict[str, Any],
    identity: Mapping[str, Any],
    out: Path | None,
    save_every: float,
    threads: int | None,
    told: Told,
) -> None:
    """All passes, from where the network is."""
    total, count = recipe.passes * len(rest), len(rest)
    pixels = rest.inputs.reshape(count, -1)
    order, ordered = order_of_pass(recipe.network.seed, 0, count), 0
    saved = time.perf_counter()
    with StopRequest() as stop:
        while network.state.images < total:
            number, place = divmod(network.state.images, count)
            if number != ordered:
                order, ordered = order_of_pass(recipe.network.seed, number, count), number
            chosen = order[place : place + _AT_ONCE]
            began, used = time.perf_counter(), time.process_time()
            network.learn(pixels[chosen])
            progress["seconds"] += time.perf_counter() - began
            progress["cpu_seconds"] += time.process_time() - used
            told("learning", network.state.images, total)
            if network.state.images % count == 0:
                progress["history"].append(_record(recipe, rest, held, network, number, progress["seconds"], threads))
            if stop.received is not None or time.perf_counter() - saved >= save_every:
                saved = time.perf_counter()
                if out is not None:
                    save_state(out / STATE_FILE, network, identity, progress)
            if stop.received is not None and network.state.images < total:
                where = (
                    "nothing was saved"
                    if out is None
                    else f"its state is in {out}; the same command goes on from there"
                )
                name = signal.Signals(stop.received).name
                raise TrainingStopped(
                    f"stopped by {name} after {network.state.images:,} of {total:,} images; {where}", stop.received
                )


def _record(
    recipe: StdpRecipe,
    rest: Dataset,
    held: Dataset | None,
    network: StdpNetwork,
    number: int,
    seconds: float,
    threads: int | None,
) -> dict[str, Any]:
    """A finished pass; its validation accuracy if images were held back."""
    found: dict[str, Any] = {"pass": number, "images": network.state.images, "seconds": seconds}
    if held is not None:
        _label(recipe, rest, network, threads, lambda *_: None)
        found["validation"] = evaluate(network, held, threads=threads).accuracies
    return found


def _label(recipe: StdpRecipe, rest: Dataset, network: StdpNetwork, threads: int | None, told: Told) -> None:
    chosen = rest.subset(slice(0, recipe.label_images or len(rest)))
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        told("labels", done, len(chosen))

    pixels = chosen.inputs.reshape(len(chosen), -1)
    network.assign_labels(pixels, chosen.labels, chosen.classes, threads=threads, advance=advance)


def _results(
    recipe: StdpRecipe,
    network: StdpNetwork,
    progress: Mapping[str, Any],
    held: Dataset | None,
    test: Dataset | None,
    threads: int | None,
    told: Told,
) -> dict[str, Any]:
    labels = network.labels
    history = progress["history"]
    found: dict[str, Any] = {
        "passes": recipe.passes,
        "images": network.state.images,
        "seconds": progress["seconds"],
        "cpu_seconds": progress["cpu_seconds"],
        "images_per_second": network.state.images / max(1e-9, progress["seconds"]),
        "history": history,
        "silent_neurons": 0 if labels is None else labels.silent_neurons,
        "missing_classes": [] if labels is None else labels.missing_classes,
        "validation": history[-1].get("validation") if held is not None and history else None,
    }
    return found if test is None else found | _tested(network, test, threads, told)


def _tested(network: StdpNetwork, test: Dataset, threads: int | None, told: Told) -> dict[str, Any]:
    seen: StdpEvaluation = evaluate(network, test, threads=threads, told=lambda done: told("test", done, len(test)))
    return {"test_accuracy": seen.accuracy, "test": seen.to_dict()}


def _told_of(data: Dataset, test: Dataset | None) -> dict[str, Any]:
    found = {"name": data.name, "images": len(data), "fingerprint": data.fingerprint}
    return found | ({} if test is None else {"test_fingerprint": test.fingerprint})


def _finished(
    out: Path, identity: Mapping[str, Any], test: Dataset | None, threads: int | None, told: Told
) -> StdpResult:
    """The run that has already ended in a folder; tested now if it was not."""
    network = load(out / MODEL_FILE)
    stored = {"recipe": network.about.get("recipe"), "data": network.about.get("data", {}).get("fingerprint")}
    _refuse_other_run(out, stored, identity)
    results = dict(network.about.get("results", {}))
    if test is not None and "test_accuracy" not in results:
        results |= _tested(network, test, threads, told)
        about = {"data": network.about["data"] | {"test_fingerprint": test.fingerprint}, "results": results}
        network.about = network.about | about
        save(network, out / MODEL_FILE)
    return StdpResult(network, results, out / MODEL_FILE, True)


def _refuse_other_run(out: Path, stored: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    changed = _difference(dict(stored), dict(identity))
    if changed:
        raise ValueError(
            f"{out} holds another run: {changed}. Choose another folder (--out), or start over there (--fresh)"
        )


def _difference(stored: Any, now: Any, where: str = "") -> str:
    if isinstance(stored, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*stored, *now)):
            found = _difference(stored.get(key), now.get(key), f"{where}.{key}" if where else str(key))
            if found:
                return found
        return ""
    return "" if stored == now else f"{where} was {stored!r} and is now {now!r}"
