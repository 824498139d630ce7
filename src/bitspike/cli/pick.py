"""`bitspike pick`: take one candidate of an exploration, test it once, certify it, save it."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least
from bitspike.cli.output import Output, percent, size, table
from bitspike.cli.program import command

if TYPE_CHECKING:
    from bitspike.explore import Exploration, Row
    from bitspike.explore.finish import Winner
    from bitspike.train import ModelHeader

PICKED = "picked.json"


def pick(
    folder: Path,
    /,
    *,
    within: str | None = None,
    margin: str | None = None,
    smallest: Annotated[bool, Flag] = False,
    reward: Literal["additive", "product"] | None = None,
    mu: float = 0.1,
    number: int | None = None,
    seeds: int = 1,
    samples: int = 256,
    dry_run: Annotated[bool, Flag] = False,
    out: Path | None = None,
    data_root: Root = None,
    download: Download = False,
    json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Take one candidate of an exploration: make it again, test it once, certify and save it.

    Which one: the smallest that loses little accuracy (--within 1% --smallest), the largest reward, or a number.
    The exit code is 1 where the candidate does not come out as the table has it.

    Args:
        folder: the folder that `explore` wrote.
        within: how much accuracy it may lose against the float network, such as 1% (one point).
        margin: how far above that bound it has to be on the validation samples (default: one standard error of the
            accuracy there, since the smallest of many that just reach a bound was lucky).
        smallest: of those, the one of least memory (the only choice; said for the reader).
        reward: additive, accuracy - mu x memory share; or product, memory saved x accuracy kept.
        mu: how much accuracy the whole memory of the float network is worth, for reward additive.
        number: this candidate.
        seeds: also make it with so many seeds in all, for the mean and deviation of its test accuracy.
        samples: how many test samples the certificate is for.
        dry_run: only say which one it would be; the test split is not looked at.
        out: the model file to write (default: picked.safetensors in the folder), and beside it the .bsp.
    """
    from bitspike.cli.explored import MODEL, Begun, opened
    from bitspike.cli.opening import data_for
    from bitspike.explore.finish import certified, make_winner

    at_least("--seeds", seeds)
    at_least("--samples", samples)
    output = Output(json, quiet)
    place = folder.expanduser()
    begun = Begun.read(place)
    found, row = _chosen(place, within, margin, reward, mu, number, smallest=smallest)
    said = {"folder": str(place), "number": row.number, "choices": row.choices, "validation_accuracy": row.accuracy}
    costs = {"memory": row.memory, "float_memory": found.baseline.memory, "float_accuracy": found.baseline.accuracy}
    if dry_run:
        _show(output, found, row, None)
        output.finish({**said, **costs, "picked": False})
        return 0
    target = place / "picked.safetensors" if out is None else out.expanduser()
    if target.suffix != ".safetensors":
        raise ValueError(f"--out is {target}; the name of a model file ends with .safetensors")
    there = opened(begun, place / MODEL, root=data_root, download=download)
    test = data_for(there.header, begun.data, "test", root=data_root, download=download)
    looks = _earlier_looks(place, row)
    if looks:
        output.note(
            f"note: the test split was looked at for candidate {', '.join(map(str, looks))} before; choosing by it "
            "would make it a validation split"
        )
    winner = certified(make_winner(there.setting(begun, place), row, test, seeds=seeds), test, samples)
    _save(winner, target, there.header, begun.data)
    _remember(place, row, winner)
    picture = _picture(found, row, place)
    _show(output, found, row, winner)
    output.show(f"{target} and {target.with_suffix('.bsp')}, certified on {min(samples, len(test))} samples")
    if not winner.reproduced:
        output.show("NOT reproduced: made again, the candidate's accuracy or memory is another than in the table")
    output.hint(f"next: {command('export', 'c', target.with_suffix('.bsp'), '--out', 'FOLDER')}")
    results = winner.results() | {"deviation": winner.deviation, "mean_test_accuracy": winner.mean}
    files = {"file": str(target), "integers": str(target.with_suffix(".bsp")), "picture": picture}
    output.finish({**said, **costs, **results, **files, "reproduced": winner.reproduced, "picked": True})
    return 0 if winner.reproduced else 1


def _chosen(
    folder: Path,
    within: str | None,
    margin: str | None,
    reward: str | None,
    mu: float,
    number: int | None,
    *,
    smallest: bool,
) -> tuple[Exploration, Row]:
    from bitspike.explore.explore import read_table

    asked = [
        name for name, given in (("--within", within), ("--reward", reward), ("--number", number)) if given is not None
    ]
    if len(asked) != 1 or ((smallest or margin is not None) and within is None):
        told = " and ".join(asked) or "nothing"
        raise ValueError(f"{told} says which candidate; give --within 1% (--smallest), or --reward, or --number")
    found = read_table(folder)
    if within is not None:
        return found, found.smallest(
            _points("--within", within), None if margin is None else _points("--margin", margin)
        )
    return found, found.row(number) if number is not None else found.best(reward or "additive", mu)


def _points(option: str, text: str) -> float:
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise ValueError(f"{option} is {text!r}; give points of accuracy such as 1%, or 0.01") from None


def _earlier_looks(folder: Path, row: Row) -> list[int]:
    """Other candidates that were tested before."""
    if not (folder / PICKED).is_file():
        return []
    told = json_format.loads((folder / PICKED).read_text())
    return [item["number"] for item in told if item["number"] != row.number]


def _remember(folder: Path, row: Row, winner: Winner) -> None:
    from bitspike.atomic import atomic_write

    file = folder / PICKED
    told: list[Any] = json_format.loads(file.read_text()) if file.is_file() else []
    told = [item for item in told if item["number"] != row.number]
    told.append({"number": row.number, "choices": row.choices, **winner.results()})
    atomic_write(file, (json_format.dumps(told, indent=1) + "\n").encode())


def _save(winner: Winner, target: Path, header: ModelHeader, data: str) -> None:
    """The model file and, beside it, the certified integers."""
    from dataclasses import replace

    from bitspike.cli.lower import origin
    from bitspike.train import save_model

    recipe = None if header.recipe is None else {**header.recipe, "quant": winner.made.quant.to_dict()}
    start = {"results": {key: value for key, value in header.results.items() if key != "history"}}
    provenance = {**header.provenance, "exploration": {"number": winner.row.number, "choices": winner.row.choices}}
    rates = {"firing_rates": winner.row.numbers.get("firing_rates", {})}
    made = replace(
        header,
        quant=winner.made.quant.to_dict(),
        recipe=recipe,
        provenance=provenance,
        results={**winner.results(), **rates, "start": start["results"], "data": data},
    )
    save_model(winner.made.net, target, made)
    integers = winner.made.integers
    about = replace(origin(made, target), certificate=integers.about.certificate)
    integers.save(target.with_suffix(".bsp"), about=about)


def _picture(found: Exploration, row: Row, folder: Path) -> str | None:
    from bitspike.atomic import atomic_write
    from bitspike.cli.explore import FRONT
    from bitspike.explore.plot import plot_front

    try:
        drawn = plot_front(found, row)
    except ModuleNotFoundError:
        return None
    atomic_write(folder / FRONT, drawn)
    return str(folder / FRONT)


def _show(output: Output, found: Exploration, row: Row, winner: Winner | None) -> None:
    baseline = found.baseline
    rows = [
        ("candidate", str(row.number)),
        *((name, str(value)) for name, value in row.choices.items()),
        ("validation accuracy", f"{percent(row.accuracy)}, float network {percent(baseline.accuracy)}"),
        (
            "memory",
            f"{size(row.memory)}, in floats {size(baseline.memory)}: {baseline.memory / row.memory:.1f}x smaller",
        ),
    ]
    if winner is not None:
        rows.append(("test accuracy as integers", f"{percent(winner.test[0])} of {winner.samples:,}"))
        if winner.deviation is not None:
            rows.append(
                (f"mean of {len(winner.test)} seeds", f"{percent(winner.mean)} ± {100 * winner.deviation:.2f} points")
            )
    output.show(table("", ("", ""), rows, left=(0, 1)))
