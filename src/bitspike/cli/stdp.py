"""The unsupervised network's part of `train`, `evaluate` and `measure`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitspike.cli.options import refuse_given
from bitspike.cli.output import Output, table
from bitspike.wording import percent, seconds, size

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.stdp import StdpEvaluation, StdpNetwork
    from bitspike.stdp.training import Told

PICTURE = "receptive-fields.png"


def stdp_file(given: Path) -> Path | None:
    """The file of an unsupervised network that a path means: itself, or that of a finished run's folder."""
    from bitspike.integer.container import kind_of
    from bitspike.stdp.file import STATE_KIND, is_stdp_file
    from bitspike.stdp.training import MODEL_FILE, STATE_FILE

    path = given.expanduser()
    if path.is_dir():
        inside = path / MODEL_FILE
        if not inside.is_file() and kind_of(path / STATE_FILE) == STATE_KIND:
            raise ValueError(f"{path} holds a run that is not finished; its train command goes on from there")
        path = inside
    return path if is_stdp_file(path) else None


def refuse_foreign(device: str, options: Iterable[tuple[str, bool]] = ()) -> None:
    """Refuse what an unsupervised network has no use for; options: name, whether it was given."""
    if device not in ("auto", "cpu"):
        raise ValueError(f'--device is "{device}", but unsupervised networks run on the CPU; give auto or cpu')
    refuse_given(options, "an unsupervised network has no use for all that was given")


def train_stdp(
    output: Output,
    file: Path,
    *,
    settings: list[str],
    out: Path | None,
    seed: int | None,
    fresh: bool,
    data_root: Path | None,
    download: bool,
    save_every: float,
) -> int:
    """Train what a recipe with a table [stdp] describes."""
    from bitspike.cli.opening import load_named
    from bitspike.cli.program import command
    from bitspike.stdp import train_stdp as run
    from bitspike.stdp.cost import describe
    from bitspike.stdp.picture import receptive_fields, write_png
    from bitspike.stdp.recipe import StdpRecipe, apply_setting, read_table

    tables = read_table(file)
    for setting in settings:
        apply_setting(tables, setting)
    recipe = StdpRecipe.from_table(tables)
    folder = out or Path("runs") / (recipe.name if seed is None else f"{recipe.name}-seed{seed}")
    data, test = (load_named(recipe.data, split, root=data_root, download=download) for split in ("train", "test"))
    bits = recipe.network.bits
    output.note(
        f"{recipe.name}: {recipe.network.neurons} neurons on {recipe.data}, "
        f"{'float' if bits is None else f'{bits.weight} bits, {bits.rounding} rounding'}, seed {recipe.network.seed}; "
        f"in {folder}"
    )
    with _progress(output) as told:
        result = run(recipe, data, test=test, out=folder, resume=not fresh, save_every=save_every, told=told)
    height, width = data.input_shape[-2:]
    write_png(folder / PICTURE, receptive_fields(result.network, (height * data.input_shape[0], width)))
    cost = describe(result.network)
    found = result.results
    payload = {
        "recipe": recipe.name,
        "data": recipe.data,
        "config": recipe.network.to_dict(),
        "resumed": result.resumed,
        **found,
        "memory": cost.memory.to_dict(),
        "float_memory": cost.float_memory.to_dict(),
        "memory_ratio": cost.float_memory.total / cost.memory.total,
        "engine": result.network.engine,
        "model_file": str(result.model_file),
        "picture": str(folder / PICTURE),
    }
    validation = found.get("validation")
    rows = [
        ("test accuracy", f"{percent(found['test_accuracy'])} of {found['test']['samples']:,}, proportion weighting"),
        ("", f"{percent(found['test']['accuracies']['all-activity'])}, all-activity"),
        ("validation accuracy", percent(validation["proportion"]) if validation else "no validation split"),
        ("neurons", f"{recipe.network.neurons}, {found['silent_neurons']} of them silent"),
        ("spikes an image", f"{found['test']['spikes_per_image']:.1f}"),
        ("memory", f"{size(cost.memory.total)}, in floats {size(cost.float_memory.total)}"),
        ("learning", f"{found['images']:,} images in {seconds(found['seconds'])}, "
                     f"{found['images_per_second']:,.0f} images/s"),
        ("receptive fields", payload["picture"]),
        ("file", payload["model_file"]),
    ]  # fmt: skip
    output.show(table(recipe.name, ("", ""), rows, left=(0, 1)))
    _warn(output, result.network)
    output.hint(f"next: {command('evaluate', payload['model_file'], '--confusion')}")
    output.finish(payload)
    return 0


def evaluate_stdp(
    output: Output,
    file: Path,
    *,
    data: str | None,
    split: str,
    limit: int | None,
    count: int | None,
    confusion: bool,
    data_root: Path | None,
    download: bool,
) -> int:
    """Accuracy of an unsupervised network, by both schemes."""
    from bitspike.cli.opening import some_of
    from bitspike.stdp import evaluate, load

    network = load(file)
    samples = some_of(_samples(network, data, split, data_root, download), limit, count)
    with output.progress(f"{samples.name} {samples.split}", len(samples)) as advance:
        done = 0

        def told(reached: int) -> None:
            nonlocal done
            advance(reached - done)
            done = reached

        found = evaluate(network, samples, told=told)
    stored = None
    if network.about.get("data", {}).get("test_fingerprint") == samples.fingerprint:
        stored = network.about.get("results", {}).get("test_accuracy")
    reproduced = None if stored is None else stored == found.accuracy
    payload: dict[str, Any] = {
        "model": str(file),
        "network": "stdp",
        "data": samples.name,
        "split": split,
        "form": "float" if network.config.bits is None else "integer",
        "engine": network.engine,
        **found.to_dict(),
        "stored_accuracy": stored,
        "reproduced": reproduced,
    }
    if not confusion:
        del payload["confusion"]
    output.show(
        f"{percent(found.accuracy)} of {samples.name} {split} by proportion weighting, "
        f"{percent(found.accuracies['all-activity'])} by all-activity: {found.samples:,} samples in "
        f"{seconds(found.seconds)}"
    )
    if stored is not None:
        same = "the same as" if reproduced else "NOT the same as"
        output.show(f"{same} the file says of these samples" + ("" if reproduced else f": {percent(stored)}"))
    rows = [
        ("spikes an image", f"{found.spikes:.2f}"),
        ("neurons that spiked", f"{found.active_neurons} of {network.config.neurons}"),
        ("the busiest one's share", percent(found.busiest)),
        ("images without a class", f"{found.silent:,}"),
    ]
    output.show(table("", ("firing", ""), rows))
    if confusion:
        _confusion(output, samples, found)
    _warn(output, network)
    output.finish(payload)
    return 1 if reproduced is False and network.config.bits is not None else 0


def measure_stdp(
    output: Output,
    file: Path,
    *,
    data: str | None,
    split: str,
    samples: int | None,
    data_root: Path | None,
    download: bool,
) -> int:
    """Memory and operations of an unsupervised network."""
    from bitspike.cli.measure import Measured
    from bitspike.cli.measure_tables import show_measured
    from bitspike.stdp import evaluate, load
    from bitspike.stdp.cost import describe, rates_of

    network = load(file)
    chosen, rates = None, None
    if data is not None or samples is not None:
        chosen = _samples(network, data, split, data_root, download)
        chosen = chosen.subset(slice(0, samples or 256))
        rates = rates_of(network, chosen.inputs, evaluate(network, chosen).spikes)
    cost = describe(network, rates)
    notes = [
        "memory is that of a device that learns: traces and refractory counters are counted",
        "parameters count the neurons' and inputs' states too",
    ]
    show_measured(output, Measured(cost, [], notes), None, chosen)
    output.finish(
        {
            "model": str(file),
            **cost.to_dict(),
            "memory_ratio": cost.float_memory.total / cost.memory.total,
            "data": None if chosen is None else chosen.name,
            "samples": 0 if chosen is None else len(chosen),
            "notes": notes,
        }
    )
    return 0


def export_stdp(
    output: Output,
    file: Path,
    out: Path,
    *,
    data: str | None,
    split: str,
    samples: int,
    force: bool,
    data_root: Path | None,
    download: bool,
) -> int:
    """C99 of an unsupervised network, which learns on the device."""
    import numpy as np

    from bitspike.stdp import load
    from bitspike.stdp.export import export_stdp as write

    network = load(file)
    if data is None:
        shape = (samples, network.config.inputs)
        chosen = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    else:
        chosen = _samples(network, data, split, data_root, download).inputs[:samples]
    report = write(network, out, chosen, overwrite=force)
    rows = [
        ("memory while learning", f"{report.learning_bytes:,}"),
        ("memory with STDP_LEARN=0", f"{report.responding_bytes:,}"),
        ("constant data", f"{report.constant_bytes:,}"),
    ]
    output.show(f"{report.folder}: {len(report.files)} files; functions stdp_init, stdp_present, stdp_class")
    output.show(table("", ("", "bytes"), rows))
    output.hint(f"code and stack come on top; next: make -C {report.folder} test")
    output.finish({"model": str(file), "data": data, **report.to_dict()})
    return 0


def list_stdp() -> list[dict[str, Any]]:
    """The recipes of this kind, as plain data."""
    from bitspike.stdp.recipe import StdpRecipe, list_stdp_recipes, read_table

    found = []
    for name, path in list_stdp_recipes().items():
        recipe = StdpRecipe.from_table(read_table(path))
        bits = recipe.network.bits
        found.append(
            {
                "name": name,
                "data": recipe.data,
                "neurons": recipe.network.neurons,
                "bits": None if bits is None else bits.weight,
                "passes": recipe.passes,
                "path": str(path),
            }
        )
    return found


def show_stdp_list(output: Output, found: list[dict[str, Any]]) -> None:
    """The same as a table."""
    rows = [
        (item["name"], str(item["neurons"]), item["data"], str(item["bits"] or "float"), str(item["passes"]))
        for item in found
    ]
    output.show(table("unsupervised networks", ("recipe", "neurons", "data", "bits", "passes"), rows, left=(0, 2, 3)))


def _samples(network: StdpNetwork, data: str | None, split: str, root: Path | None, download: bool) -> Dataset:
    from bitspike.cli.opening import load_named

    name = data or network.about.get("data", {}).get("name")
    if not isinstance(name, str):
        raise ValueError("the file does not say what the network was trained on; name a data set with --data")
    return load_named(name, split, root=root, download=download)


def _warn(output: Output, network: StdpNetwork) -> None:
    if network.labels is not None and network.labels.missing_classes:
        names = ", ".join(map(str, network.labels.missing_classes))
        output.show(f"warning: no neuron stands for these classes, so they are never predicted: {names}")


def _confusion(output: Output, samples: Dataset, found: StdpEvaluation) -> None:
    names = samples.class_names or tuple(str(index) for index in range(samples.classes))
    rows = [(name, *(str(count) for count in row)) for name, row in zip(names, found.confusion, strict=True)]
    output.show(table("true class (rows), predicted (columns)", ("", *names, "none"), rows))


@contextmanager
def _progress(output: Output) -> Iterator[Told]:
    """Tells images a second: a bar on a terminal, a line at every tenth elsewhere."""
    began: dict[str, tuple[float, int]] = {}

    def rate(what: str, done: int) -> float:
        start, before = began.setdefault(what, (time.perf_counter(), done))
        return (done - before) / max(1e-9, time.perf_counter() - start)

    if not output.has_bar:

        def line(what: str, done: int, total: int) -> None:
            speed, tenth = rate(what, done), max(1, total // 10)
            if what == "learning" and (done // tenth > (done - 250) // tenth or done == total):
                output.note(f"{done:,} of {total:,} images, {speed:,.0f} images/s")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[speed]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def move(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, speed="")
            bar.update(tasks[what], completed=done, speed=f"{rate(what, done):,.0f} images/s")

        yield move
