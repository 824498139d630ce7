"""`bitspike demo`: a float network and a 1-bit network on real digits, side by side."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bitspike.cli.options import Device, Flag, Json, Quiet, at_least, usable_device
from bitspike.cli.output import Output, table
from bitspike.wording import percent, ratio, seconds

if TYPE_CHECKING:
    import torch

    from bitspike.train import TrainResult

RECIPES = ("digits-float", "qsnn-digits-1w2u")


def demo(
    *,
    out: Path = Path("runs/demo"),
    epochs: int | None = None,
    seed: int = 0,
    fresh: Annotated[bool, Flag] = False,
    device: Device = "cpu",
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train a float and a 1-bit network on digits, and compare them.

    Both have the same layers and training; one has 1-bit weights and 2-bit membranes and is counted as
    integers. The digits are scikit-learn's (1,442 to train, 355 to test), so nothing is downloaded.

    Args:
        out: folder of the two runs.
        epochs: fewer make it shorter and both networks worse (default: what the recipes say).
        seed: of both trainings.
        fresh: train again, even if the folder holds finished runs.
    """
    at_least("--epochs", epochs)
    at_least("--seed", seed, 0)
    output = Output(json, quiet)
    began = time.perf_counter()
    place = usable_device(device)
    plain, small = (_train(name, out, epochs, seed, fresh, place, output) for name in RECIPES)
    check = _check_integers(small)
    payload = _payload(plain, small, check) | {"seconds": time.perf_counter() - began}
    _show(output, payload)
    output.finish(payload)
    return 0 if check["equal_to_eval"] else 1


def _train(
    name: str, out: Path, epochs: int | None, seed: int, fresh: bool, place: torch.device, output: Output
) -> TrainResult:
    from bitspike.cli.train import describe, standing
    from bitspike.train import read_recipe, train_recipe
    from bitspike.train.progress import epoch_line

    changes = [f"train.seed={seed}"]
    if epochs is not None:
        changes += [f"train.epochs={epochs}", f"train.warmup_epochs={min(1, epochs)}"]
    recipe = read_recipe(name, changes)
    folder = out / name
    output.note(f"{describe(recipe)}; {standing(folder, fresh)}")
    done = 0
    with _few_words(), output.progress(name, recipe.train.epochs) as advance:

        def on_epoch(record: Mapping[str, Any]) -> None:
            nonlocal done
            epoch = int(record["epoch"]) + 1
            advance(epoch - done)
            done = epoch
            if not output.has_bar and (epoch % 10 == 0 or epoch == recipe.train.epochs):
                output.note(f"  {epoch_line(record, recipe.train.epochs)}")

        return train_recipe(recipe, out=folder, resume=not fresh, device=place, show_progress=False, on_epoch=on_epoch)


@contextlib.contextmanager
def _few_words() -> Iterator[None]:
    """Without the training's own line per epoch: a hundred of them would push the result off the screen."""
    log = logging.getLogger("bitspike.train")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _check_integers(small: TrainResult) -> dict[str, Any]:
    """The test split through the lowered network, and through eval(): they must agree in every logit."""
    import torch

    from bitspike.cli.opening import lowered
    from bitspike.data import load

    data = load("digits", "test")
    net = small.net.cpu().eval()
    integer_net = lowered(net)
    logits = integer_net.predict(data.inputs)
    with torch.no_grad():
        scaled = net(torch.from_numpy(data.inputs)).mean(0).numpy()
    predicted = logits.argmax(1)
    readout = integer_net.graph.readout
    differing = int((abs(scaled - logits * readout.unit) > abs(readout.unit) / 4).any(1).sum())
    correct = int((predicted == data.labels).sum())
    same_classes = bool((scaled.argmax(1) == predicted).all())
    stored = small.results.get("test_accuracy")
    return {
        "accuracy": correct / len(data),
        "correct": correct,
        "samples": len(data),
        "equal_to_eval": same_classes and differing == 0 and correct / len(data) == stored,
    }


def _payload(plain: TrainResult, small: TrainResult, check: dict[str, Any]) -> dict[str, Any]:
    from bitspike.cli.train import summary
    from bitspike.train import Recipe

    found = {}
    for key, result in (("float", plain), ("quantized", small)):
        told = summary(Recipe.from_dict(result.header.recipe or {}), result)
        keep = (
            "recipe", "quant", "form", "parameters", "memory", "firing_rates", "seconds", "resumed", "model_file",
            "epochs", "seed", "test_samples",
        )  # fmt: skip
        found[key] = {"accuracy": told["test_accuracy"]} | {name: told[name] for name in keep}
    found["quantized"] |= {name: check[name] for name in ("accuracy", "correct", "equal_to_eval")}
    wide, narrow = found["float"]["memory"], found["quantized"]["memory"]
    return {
        "data": "digits",
        **found,
        "accuracy_difference": found["quantized"]["accuracy"] - found["float"]["accuracy"],
        "memory_ratio": wide["total"] / narrow["total"],
        "memory_ratio_largest": wide["total_largest"] / narrow["total_largest"],
    }


def _show(output: Output, found: dict[str, Any]) -> None:
    wide, narrow = found["float"], found["quantized"]

    def bytes_row(name: str, key: str) -> tuple[str, str, str, str]:
        large, little = wide["memory"][key], narrow["memory"][key]
        return name, f"{large:,} B", f"{little:,} B", ratio(large, little)

    points = 100 * found["accuracy_difference"]
    rows = [
        (
            "test accuracy",
            percent(wide["accuracy"]),
            percent(narrow["accuracy"]),
            f"{points:+.2f} points",
        ),
        bytes_row("memory, all layers resident", "total"),
        bytes_row("memory, largest layer resident", "total_largest"),
        bytes_row("  of which weights", "weights"),
        bytes_row("  of which per channel", "channels"),
        bytes_row("  of which membrane, all layers", "membrane_all"),
        ("parameters", f"{wide['parameters']:,}", f"{narrow['parameters']:,}", ""),
        *(
            (f"firing rate, {name}", percent(rate, 1), percent(narrow["firing_rates"].get(name), 1), "")
            for name, rate in wide["firing_rates"].items()
        ),
        ("training time", seconds(wide["seconds"]), seconds(narrow["seconds"]), ""),
    ]
    weights, membrane = narrow["quant"].rstrip("u").split("w")
    columns = (
        f"digits, {narrow['test_samples']} test samples",
        "float",
        f"{weights}-bit weights,\n{membrane}-bit membrane,\nas integers",
        "",
    )
    output.show(table("", columns, rows))
    agree = "are the same in every logit" if narrow["equal_to_eval"] else "DIFFER, which must not be"
    output.show(f"The integer network and the network that was evaluated {agree}. All in {seconds(found['seconds'])}.")
    _hints(output, narrow)


def _hints(output: Output, narrow: dict[str, Any]) -> None:
    from bitspike.cli.program import command
    from bitspike.data import dataset_info

    output.hint("Next:")
    output.hint(f"  {command('evaluate', narrow['model_file'], '--data', 'digits')}")
    output.hint(f"  {command('measure', narrow['model_file'], '--data', 'digits')}")
    if not dataset_info("mnist")["present"]:
        output.hint(f"  {command('data', 'fetch', 'mnist')}")
    output.hint(f"  {command('train', 'qsnn-mnist-1w2u')}")
