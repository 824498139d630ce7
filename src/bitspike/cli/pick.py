"""`bitspike pick`: take one candidate of an exploration, test it once, certify it, save it."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from bitspike.cli.options import Download, Flag, Json, Quiet, Root, at_least, points
from bitspike.cli.output import Output, table
from bitspike.cli.program import command
from bitspike.wording import percent, size

if TYPE_CHECKING:
    from bitspike.explore import Exploration, Row
    from bitspike.explore.finish import Winner


def pick(
    folder: Path,
    /,
    *,
    within: str | None = None,
    margin: str | None = None,
    smallest: Annotated[bool, Flag] = False,
    reward: Literal["additive", "product"] | None = None,
    mu: float | None = None,
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
        mu: how much accuracy the whole memory of the float network is worth, for reward additive (default: 0.1).
        number: this candidate.
        seeds: make it with so many seeds in all, for the mean and deviation of its test accuracy; the first is saved.
        samples: how many test samples the certificate is for.
        dry_run: only say which one it would be; the test split is not looked at.
        out: the model file to write (default: picked.safetensors in the folder), and beside it the .bsp; of an
            unsupervised network the .bsp alone.
    """
    from bitspike.cli.explored import Begun, opened
    from bitspike.cli.exploring import draw_front, without_picture
    from bitspike.explore.finish import certified, make_winner
    from bitspike.explore.page import write_page

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
    there = opened(begun, place, root=data_root, download=download)
    target = place / f"picked{there.suffix}" if out is None else out.expanduser()
    if target.suffix != there.suffix:
        raise ValueError(f"--out is {target}; the name of this model's file ends with {there.suffix}")
    test = there.test(root=data_root, download=download)
    looks = _earlier_looks(place, row)
    subject = there.subject
    winner = certified(subject, make_winner(subject, row, test, seeds=seeds), test, samples)
    files = there.save(winner, target)
    _remember(place, row, winner)
    picture = draw_front(found, place, row)
    page = write_page(place, found)
    _show(output, found, row, winner, there.test_accuracy)
    if looks:
        output.show(
            f"the test split was looked at before, for candidate {', '.join(map(str, looks))}; choosing between "
            "candidates by it would make it a validation split"
        )
    told = "not certified, for want of an engine to compare"
    if winner.made.certificate:
        told = f"certified on {min(samples, len(test))} samples"
    output.show(f"{' and '.join(map(str, files))}, {told}")
    if not winner.reproduced:
        output.show("NOT reproduced: made again, the candidate's accuracy or memory is another than in the table")
    without_picture(output, picture)
    output.hint(f"next: {command('export', 'c', files[-1], 'FOLDER')}")
    results = winner.results() | {"deviation": winner.deviation, "mean_test_accuracy": winner.mean}
    written = {"file": str(target), "integers": str(files[-1]), "picture": picture, "page": str(page)}
    checks = {"reproduced": winner.reproduced, "tested_before": looks}
    output.finish({**said, **costs, **results, **written, **checks, "picked": True})
    return 0 if winner.reproduced else 1


def _chosen(
    folder: Path,
    within: str | None,
    margin: str | None,
    reward: str | None,
    mu: float | None,
    number: int | None,
    *,
    smallest: bool,
) -> tuple[Exploration, Row]:
    from bitspike.explore.explore import read_table
    from bitspike.explore.selection import DEFAULT_MU

    asked = [
        name for name, given in (("--within", within), ("--reward", reward), ("--number", number)) if given is not None
    ]
    ways = "--within 1% --smallest, --reward additive or product, or --number N"
    if not asked:
        raise ValueError(f"{'--smallest alone does not say' if smallest else 'say'} which candidate to take: {ways}")
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} were given; give one of {ways}")
    if smallest and within is None:
        raise ValueError(f"--smallest goes with --within, and not with {asked[0]}")
    if margin is not None and within is None:
        raise ValueError(f"--margin goes with --within, and not with {asked[0]}")
    if mu is not None and reward != "additive":
        raise ValueError("--mu belongs to --reward additive; nothing else uses it")
    found = read_table(folder)
    if within is not None:
        return found, found.smallest(points("--within", within), None if margin is None else points("--margin", margin))
    if number is not None:
        return found, found.row(number)
    return found, found.best(reward or "additive", DEFAULT_MU if mu is None else mu)


def _earlier_looks(folder: Path, row: Row) -> list[int]:
    """Other candidates that were tested before."""
    from bitspike.explore.page import read_picked

    return [item["number"] for item in read_picked(folder) if item["number"] != row.number]


def _remember(folder: Path, row: Row, winner: Winner) -> None:
    from bitspike.atomic import atomic_write
    from bitspike.explore.page import PICKED, read_picked

    told = [item for item in read_picked(folder) if item["number"] != row.number]
    told.append({"number": row.number, "choices": row.choices, **winner.results()})
    atomic_write(folder / PICKED, (json_format.dumps(told, indent=1) + "\n").encode())


def _show(output: Output, found: Exploration, row: Row, winner: Winner | None, before: float | None = None) -> None:
    """before: the test accuracy of the network that all candidates were made from, where it is known."""
    baseline = found.baseline
    rows = [
        ("candidate", str(row.number)),
        *((name, str(value)) for name, value in row.choices.items()),
        ("validation accuracy", f"{percent(row.accuracy)}, {found.start} {percent(baseline.accuracy)}"),
        (
            "memory",
            f"{size(row.memory)}, in floats {size(baseline.memory)}: {baseline.memory / row.memory:.1f}x smaller",
        ),
    ]
    if winner is not None:
        beside = "" if before is None else f"; {found.start} {percent(before)}"
        rows.append(("test accuracy as integers", f"{percent(winner.test[0])} of {winner.samples:,}{beside}"))
        if winner.deviation is not None:
            rows.append(
                (f"mean of {len(winner.test)} seeds", f"{percent(winner.mean)} ± {100 * winner.deviation:.2f} points")
            )
    output.show(table("", ("", ""), rows, left=(0, 1)))
