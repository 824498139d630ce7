"""`bitspike train`: a recipe becomes a trained network and its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bitspike.cli.options import Device, Download, Flag, Json, Quiet, Root, Settings, at_least, usable_device
from bitspike.cli.output import Output, table
from bitspike.wording import percent, seconds, size

if TYPE_CHECKING:
    from bitspike.train import Recipe, TrainResult


def train(
    recipe: str | None = None,
    /,
    *,
    settings: Settings = None,
    epochs: int | None = None,
    seed: int | None = None,
    out: Path | None = None,
    fresh: Annotated[bool, Flag] = False,
    list_recipes: Annotated[bool, Flag, Parameter(name="--list")] = False,
    device: Device = "auto",
    data_root: Root = None,
    download: Download = False,
    save_every: float = 60.0,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Train what a recipe describes; a stopped run goes on by itself.

    The state is saved as the run goes; the same command goes on from there, to the same result as if it had
    never stopped. The test split is evaluated once, at the end, as integers.

    Args:
        recipe: a name from --list, or the path of a TOML file.
        settings: change a setting of the recipe, such as train.epochs=3 or quant=1w4u; can be repeated.
        epochs: short for --set train.epochs=N (of an unsupervised network: stdp.passes).
        seed: short for --set train.seed=N (of an unsupervised network: network.seed).
        out: folder of the run (default: runs/RECIPE, or runs/RECIPE-seedN with --seed N).
        fresh: start over, even if the folder holds an earlier run.
        list_recipes: list the recipes that come with bitspike.
        save_every: seconds between two savings within an epoch.
    """
    from bitspike.cli.stdp import refuse_foreign, train_stdp
    from bitspike.stdp.recipe import find_stdp_recipe

    output = Output(json, quiet)
    if list_recipes:
        return _list(output)
    if recipe is None:
        raise ValueError("which recipe? Give a name from `bitspike train --list`, or the path of a TOML file")
    at_least("--epochs", epochs)
    if save_every < 0:
        raise ValueError(f"--save-every is {save_every:g}; give 0 or more seconds")
    unsupervised = find_stdp_recipe(recipe)
    if unsupervised is None:
        _refuse_unknown(recipe)
    else:
        refuse_foreign(device)
        short = (("stdp.passes", epochs), ("network.seed", seed))
        return train_stdp(
            output,
            unsupervised,
            settings=[*(settings or ()), *(f"{name}={value}" for name, value in short if value is not None)],
            out=out,
            seed=seed,
            fresh=fresh,
            data_root=data_root,
            download=download,
            save_every=save_every,
        )
    from bitspike.train import read_recipe, train_recipe
    from bitspike.train.distributed import is_first, together

    changes = list(settings or ())
    changes += [f"train.{name}={value}" for name, value in (("epochs", epochs), ("seed", seed)) if value is not None]
    plan = read_recipe(recipe, changes)
    if epochs is not None and plan.start and plan.finetune is not None:
        raise ValueError(
            f"--epochs is of the first training, which the recipe leaves out, since it starts from {plan.start}; give "
            f"--set finetune.epochs={epochs}"
        )
    folder = out or Path("runs") / (plan.name if seed is None else f"{plan.name}-seed{seed}")
    with together():
        place = usable_device(device)
        if is_first():
            output.note(f"{describe(plan)}, on {place}; {standing(folder, fresh)}")
        result = train_recipe(
            plan,
            root=data_root,
            download=download,
            out=folder,
            resume=not fresh,
            device=place,
            save_every=save_every,
            show_progress=not quiet,
        )
        if is_first():
            payload = summary(plan, result)
            _show(output, payload)
            output.finish(payload)
    return 0


def describe(recipe: Recipe) -> str:
    """A recipe in half a line."""
    many = f"{recipe.train.epochs} epoch{'s' if recipe.train.epochs > 1 else ''}"
    if recipe.finetune is not None:
        more = f"{recipe.finetune.epochs} epoch{'s' if recipe.finetune.epochs > 1 else ''}"
        many = f"pruned, then {more}" if recipe.start else f"{many}, then pruned, {recipe.finetune.epochs} more"
    return (
        f"{recipe.name}: {recipe.model.name} on {recipe.data.name} as {recipe.quant.short()}, {many}, "
        f"seed {recipe.train.seed}"
    )


def standing(folder: Path, fresh: bool) -> str:
    """Where a run in this folder begins."""
    from bitspike.train.model_file import MODEL_FILE
    from bitspike.train.run import STATE_FILE
    from bitspike.train.stages import FIRST_STAGE

    if (folder / MODEL_FILE).is_file() and not fresh:
        return f"trained already, in {folder} (--fresh trains again)"
    started = (folder / STATE_FILE, folder / FIRST_STAGE / STATE_FILE, folder / FIRST_STAGE / MODEL_FILE)
    if any(file.is_file() for file in started) and not fresh:
        return f"goes on in {folder} (--fresh starts over)"
    return f"starts in {folder}"


def summary(recipe: Recipe, result: TrainResult) -> dict[str, Any]:
    """What a finished run has to say, as plain data."""
    from bitspike.cli.opening import has_integer_form
    from bitspike.measuring import measure

    cost = measure(result.net.cpu())
    results = result.results
    return {
        "recipe": recipe.name,
        "network": recipe.model.name,
        "data": recipe.data.name,
        "quant": recipe.quant.short(),
        "seed": recipe.train.seed,
        "epochs": recipe.train.epochs,
        "resumed": result.resumed,
        "form": "integer" if has_integer_form(result.net) else "float",
        "test_accuracy": results.get("test_accuracy"),
        "test_samples": results.get("test_samples"),
        "validation_accuracy": results.get("validation_accuracy"),
        "published_accuracy": recipe.published.accuracy,
        "published_source": recipe.published.source or None,
        "firing_rates": results.get("firing_rates", {}),
        "parameters": cost.parameters,
        "memory": cost.memory.to_dict(),
        "float_memory": cost.float_memory.to_dict(),
        "seconds": result.seconds,
        "model_file": None if result.model_file is None else str(result.model_file),
        "history": results.get("history", []),
        **{key: results[key] for key in ("before_pruning", "pruning") if key in results},
    }


def _show(output: Output, found: Mapping[str, Any]) -> None:
    from bitspike.cli.program import command

    memory, plain = found["memory"], found["float_memory"]
    form = "as integers" if found["form"] == "integer" else "in floating point"
    rows = [
        (f"test accuracy {form}", f"{percent(found['test_accuracy'])} of {found['test_samples']:,}"),
        ("validation accuracy", percent(found["validation_accuracy"]) or "no validation split"),
        ("published or target", _published(found)),
        ("firing rates", ", ".join(f"{name} {percent(rate, 1)}" for name, rate in found["firing_rates"].items())),
        *_before_pruning(found),
        ("parameters", f"{found['parameters']:,}"),
        ("memory", f"{size(memory['total'])}, in floats {size(plain['total'])}"),
        ("memory, largest layer", f"{size(memory['total_largest'])}, in floats {size(plain['total_largest'])}"),
        ("training time", seconds(found["seconds"])),
        ("model file", found["model_file"] or ""),
    ]
    output.show(table(f"{found['recipe']} ({found['quant']})", ("", ""), rows, left=(0, 1)))
    if found["model_file"]:
        output.hint(f"next: {command('evaluate', found['model_file'], '--data', found['data'])}")
        output.hint(f"      {command('measure', found['model_file'], '--data', found['data'])}")


def _before_pruning(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if "pruning" not in found:
        return []
    before, pruning = found["before_pruning"], found["pruning"]
    accuracy = percent(before.get("test_accuracy")) or "accuracy not measured"
    return [
        (
            "before pruning",
            f"{accuracy}, {pruning['parameters_before']:,} parameters, memory {size(pruning['memory_before'])}",
        )
    ]


def _published(found: Mapping[str, Any]) -> str:
    if found["published_accuracy"] is None:
        return "none"
    return f"{percent(found['published_accuracy'])} ({found['published_source']})"


def _refuse_unknown(name: str) -> None:
    """A name that is no path and no recipe of either kind; the nearest may be of the other kind."""
    from bitspike.stdp.recipe import list_stdp_recipes
    from bitspike.train import list_recipes
    from bitspike.train.schema import nearest

    known = {**list_recipes(), **list_stdp_recipes()}
    path = Path(name).expanduser()
    if name not in known and path.suffix != ".toml" and len(path.parts) == 1 and not path.is_file():
        raise ValueError(f'there is no recipe "{name}"; {nearest(name, known)}')


def _list(output: Output) -> int:
    from bitspike.cli.stdp import list_stdp, show_stdp_list
    from bitspike.train import list_recipes, read_recipe

    found: list[dict[str, Any]] = []
    for name, path in list_recipes().items():
        recipe = read_recipe(name)
        found.append(
            {
                "name": name,
                "network": recipe.model.name,
                "data": recipe.data.name,
                "quant": recipe.quant.short(),
                "time_steps": recipe.data.time_steps,
                "epochs": recipe.train.epochs,
                "published_accuracy": recipe.published.accuracy,
                "published_source": recipe.published.source or None,
                "path": str(path),
            }
        )
    rows = [
        (
            item["name"],
            item["network"],
            item["data"],
            item["quant"],
            str(item["time_steps"]),
            str(item["epochs"]),
            percent(item["published_accuracy"]),
            item["published_source"] or "",
        )
        for item in found
    ]
    columns = ("recipe", "network", "data", "bits", "T", "epochs", "target", "from")
    output.show(table("", columns, rows, left=(0, 1, 2, 3, 7)))
    unsupervised = list_stdp()
    show_stdp_list(output, unsupervised)
    output.finish({"recipes": found, "stdp_recipes": unsupervised})
    return 0
