"""`bitspike explore`: try many ways to make a trained network smaller."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from bitspike.cli.explored import STUDY
from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from bitspike.explore import Exploration, Space

OBJECTIVES, CALIBRATION = "accuracy,memory", "4x128"


def explore(
    model: Path | None = None,
    /,
    *,
    data: str | None = None,
    base: str | None = None,
    space: Path | None = None,
    try_: Annotated[list[str] | None, Parameter(name="--try")] = None,
    objectives: str = OBJECTIVES,
    sampler: str = "auto",
    trials: int | None = None,
    generation: int = 16,
    validation: float = 0.1,
    calibration: str = CALIBRATION,
    recipe: str = "",
    train: Annotated[list[str] | None, Parameter(name="--train")] = None,
    early_stop: Annotated[bool, Flag] = False,
    seed: int = 0,
    workers: int = 1,
    on: str = "local",
    asynchronous: Annotated[bool, Flag] = False,
    storage: str | None = None,
    name: str = STUDY,
    join: Annotated[bool, Flag] = False,
    out: Path | None = None,
    resume: Path | None = None,
    dashboard: Path | None = None,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Try ways to quantize, prune and train a float network further; the table shows which are worth it.

    Every candidate becomes an integer network and is evaluated as one, on validation samples. A stopped exploration
    goes on by itself. Then `bitspike pick` takes the best one.

    Args:
        model: a model file (.safetensors) of a float network, that of an unsupervised one (.bsp), or the folder of a
            finished run.
        data: the data set; by default the one it was trained on.
        base: what all candidates start from, such as 8w8u; dimensions change it. Not of an unsupervised network, which
            takes a dimension of one value instead, such as --try bits.membrane=12.
        space: a TOML file with the dimensions and their values (default: bits of weights, membranes and ends; of an
            unsupervised network bits.weight).
        try_: a dimension and its values, such as weight.bits=2,3,4 or scheme=ptq,itq; can be repeated.
        objectives: what makes a front, of accuracy, memory, operations, energy, latency.
        sampler: auto (all of up to 1000 candidates, or of up to --trials; else nsga2), exhaustive, one-at-a-time,
            nsga2, tpe, random.
        trials: how many candidates a sampler may try (default: 100); --resume may raise it.
        generation: how many it proposes at once.
        validation: share of the train split for comparing, where the model's own recipe left none out.
        calibration: batches x samples that calibrate; nothing does in an unsupervised network.
        recipe: how candidates that train do so (default: as the model was, 5 epochs, a third of its rate).
        train: change a setting of that recipe's train table, such as epochs=3, of an unsupervised network's stdp
            table, such as passes=2; can be repeated.
        early_stop: stop training candidates that fall far behind.
        seed: of everything random.
        workers: processes; the table is the same with any number.
        on: local, ray (a cluster begun here), auto or ray://HOST:PORT (one that runs).
        asynchronous: wait for no generation; faster, and the table then depends on who was faster.
        storage: URL of a database that several machines share, such as postgresql://HOST/NAME; --resume knows it but
            for a password, which is not kept.
        name: of the exploration in that database, which may hold many.
        join: take candidates of an exploration that was begun elsewhere in that storage.
        out: folder of the exploration (default: runs/explore-MODEL).
        resume: go on in this folder, with the model and all else that it was begun with.
        dashboard: show the exploration of this folder in a browser, by optuna-dashboard.
    """
    from bitspike.cli.explored import Begun, opened
    from bitspike.cli.exploring import Progress, as_pair, data_name, model_name
    from bitspike.cli.opening import model_path
    from bitspike.cli.stdp import stdp_file
    from bitspike.explore import Space
    from bitspike.explore import explore as run
    from bitspike.explore.proposals import TRIALS, chosen_sampler
    from bitspike.explore.stdp_space import StdpSpace
    from bitspike.explore.storage import kept, shown
    from bitspike.train import read_header

    output = Output(json, quiet)
    if dashboard is not None:
        return _dashboard(dashboard.expanduser())
    at_least("--workers", workers)
    at_least("--trials", trials)
    at_least("--generation", generation)
    if (model is None) == (resume is None):
        raise ValueError("give a model to explore, or a folder with --resume to go on in; not both, not neither")
    if resume is not None:
        folder = resume.expanduser()
        begun = Begun.read(folder)
        _refuse_changes(
            [
                ("--data", data, None),
                ("--base", base, None),
                ("--space", space, None),
                ("--try", try_, None),
                ("--objectives", objectives, OBJECTIVES),
                ("--sampler", sampler, "auto"),
                ("--generation", generation, 16),
                ("--validation", validation, 0.1),
                ("--calibration", calibration, CALIBRATION),
                ("--recipe", recipe, ""),
                ("--train", train, None),
                ("--early-stop", early_stop, False),
                ("--seed", seed, 0),
                ("--asynchronous", asynchronous, False),
                ("--name", name, STUDY),
                ("--out", out, None),
            ]
        )
        begun, database = replace(begun, trials=trials or begun.trials), begun.database(storage)
    elif model is not None:
        unsupervised = stdp_file(model)
        source = unsupervised or model_path(model)
        if unsupervised is None:
            read_header(source)  # whatever else it is, is refused here
        folder = Path("runs") / f"explore-{model_name(source)}" if out is None else out.expanduser()
        searched = _space(Space if unsupervised is None else StdpSpace, space, base, try_ or [])
        begun = Begun(
            data_name(source, data),
            searched.to_dict(),
            [name.strip() for name in objectives.split(",")],
            chosen_sampler(sampler, searched, trials),
            trials or TRIALS,
            generation,
            validation,
            as_pair(calibration),
            seed,
            recipe,
            list(train or []),
            early_stop,
            storage="" if storage is None else kept(storage),
            name=name,
            asynchronous=asynchronous,
        )
        database = storage
        begun.write(folder, source)
        _keep_significance(space, folder)
    found = opened(begun, folder, root=data_root, download=download)
    if told := found.note(folder if model is None else model):
        output.note(told)
    if join and database is not None:
        output.note(f"joining {begun.name!r} in {shown(database)}")
    else:
        output.note(f"exploring in {folder}; it goes on there if it is stopped")
    result = run(
        **found.explored(),
        space=begun.space,
        objectives=begun.objectives,
        sampler=begun.sampler,
        trials=begun.trials,
        generation=begun.generation,
        early_stop=begun.early_stop,
        seed=begun.seed,
        workers=workers,
        on=on,
        asynchronous=begun.asynchronous,
        out=folder,
        storage=database,
        name=begun.name,
        join=join,
        watch=Progress(output).changed,
    )
    _finish(output, result, folder, join=join)
    return 0


def _finish(output: Output, found: Exploration, folder: Path, *, join: bool) -> None:
    """Front, picture and page; to those that join only the front, since the table is kept where it was begun."""
    from bitspike.cli.exploring import draw_front, without_picture
    from bitspike.explore.page import write_page

    _show_front(output, found)
    if join:
        output.finish({"folder": str(folder), "picture": None, "page": None, **found.to_dict()})
        return
    picture = draw_front(found, folder)
    page = write_page(folder, found)
    output.show(f"{page}: all candidates")
    without_picture(output, picture)
    output.hint(f"next: {command('pick', folder, '--within', '1%', '--smallest')}")
    output.finish({"folder": str(folder), "picture": picture, "page": str(page), **found.to_dict()})


def _show_front(output: Output, found: Exploration) -> None:
    """The candidates that no other one beats, beside the float network."""
    output.show(table("no other candidate beats these", found.COLUMNS, found.lines(), left=found.LEFT))
    told = [f"{len(found.finished)} candidate{'' if len(found.finished) == 1 else 's'}"]
    told += [f"{len(found.stopped)} stopped in training"] if found.stopped else []
    told += [f"{len(found.failed)} could not be made ({found.failed[0].numbers['error']})"] if found.failed else []
    output.show(", ".join(told))


def _refuse_changes(options: list[tuple[str, Any, Any]]) -> None:
    """An exploration goes on as it was begun; options: name, value, default."""
    if given := [name for name, value, default in options if value != default]:
        raise ValueError(
            f"--resume goes on with all that the exploration was begun with; leave out {', '.join(given)}, or begin "
            "another one: give the model, and another folder with --out"
        )


def _keep_significance(space: Path | None, folder: Path) -> None:
    """The sweep that proposed the space belongs on the exploration's page."""
    import shutil

    from bitspike.explore.page import SIGNIFICANCE

    found = None if space is None else space.expanduser().parent / SIGNIFICANCE
    if found is not None and found.is_file() and not (folder / SIGNIFICANCE).exists():
        shutil.copyfile(found, folder / SIGNIFICANCE)


def _space(kind: type[Space], file: Path | None, base: str | None, tries: list[str]) -> Space:
    """The space of a TOML file, its dimensions changed or joined by those of the command line."""
    import tomllib

    from bitspike.train.recipe_file import value_of

    given: dict[str, Any] = {}
    if file is not None:
        try:
            given = kind.of(tomllib.loads(file.expanduser().read_text(encoding="utf-8"))).to_dict()
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is not a valid TOML file: {error}") from None
    for text in tries:
        name, equals, values = text.partition("=")
        if not equals or not values.strip():
            raise ValueError(f"--try {text}: give NAME=VALUE,VALUE,..., such as weight.bits=2,3,4")
        if name.strip() == "base":
            raise ValueError("what all candidates start from is given with --base, such as --base 8w8u")
        given[name.strip()] = [value_of(value.strip()) for value in values.split(",")]
    dimensions = given or kind().to_dict()
    return kind.of(dimensions if base is None else {**dimensions, "base": base})


def _dashboard(folder: Path) -> int:
    """Serve optuna-dashboard for the journal of a folder, until it is stopped."""
    from bitspike.explore.storage import JOURNAL

    if not (folder / JOURNAL).is_file():
        raise FileNotFoundError(f"{folder} holds no exploration; `bitspike explore MODEL --out {folder}` begins one")
    try:
        from optuna_dashboard import run_server
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "the dashboard needs optuna-dashboard: pip install 'bitspike[dashboard]'", name="optuna_dashboard"
        ) from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    run_server(JournalStorage(JournalFileBackend(str(folder / JOURNAL))))
    return 0
