"""`bitspike data`: which data sets there are, where they lie; fetch and verify them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bitspike.cli.options import Json, Quiet
from bitspike.cli.output import Output, table
from bitspike.wording import shape, size

_EXAMPLES = """\
Examples:
  bitspike data
  bitspike data mnist
  bitspike data fetch mnist --data-root ~/datasets
  bitspike data verify cifar10 --json"""

app = App(name="data", help_epilogue=_EXAMPLES, help_format="plaintext", default_parameter=Parameter(negative=()))

Root = Annotated[
    Path | None,
    Parameter(
        name=("--data-root", "--root"), help="folder that holds the data sets' folders (default: $BITSPIKE_DATA)."
    ),
]


@app.default
def overview(name: str | None = None, /, *, root: Root = None, json: Json = False) -> int:
    """List data sets and where they lie; fetch and verify them.

    Args:
        name: a data set, to see all that is known of it.
    """
    if name is not None:
        return info(name, root=root, json=json)
    from bitspike.data import data_roots, dataset_info, dataset_names

    output = Output(json)
    found = [dataset_info(each, root) for each in dataset_names()]
    rows = [
        (
            item["name"],
            _presence(item),
            item["kind"],
            shape(item["shape"]),
            str(item["classes"]),
            f"{item['train']:,} / {item['test']:,}",
            item["where"] or ("" if item["present"] else item["advice"]),
        )
        for item in found
    ]
    columns = ("data set", "", "kind", "sample", "classes", "train / test", "where, or how to get it")
    output.show(table("", columns, rows, left=(0, 1, 2, 6)))
    places = [str(place) for place in data_roots(root)]
    output.hint(f"looked in {', '.join(places)}; BITSPIKE_DATA or --data-root name another folder")
    output.finish({"datasets": found, "roots": places})
    return 0


@app.command
def info(name: str, /, *, root: Root = None, json: Json = False) -> int:
    """What a data set is, where it was looked for, which files are there.

    Args:
        name: of the data set.
    """
    from bitspike.data import dataset_info

    found = dataset_info(known_name(name), root)
    output = Output(json)
    _show(output, found, checked=False)
    output.finish(found)
    return 0


@app.command
def fetch(name: str, /, *, root: Root = None, json: Json = False, quiet: Quiet = False) -> int:
    """Download what is missing of a data set and check it.

    Args:
        name: of the data set.
    """
    from bitspike.data import dataset_info
    from bitspike.data import fetch as fetch_files

    known = known_name(name)
    output = Output(json, quiet)
    if known == "digits":
        output.show(f"{known} comes with scikit-learn; there is nothing to fetch")
        files: list[Path] = []
    else:
        with output.progress(f"fetching {known}", None) as advance:
            files = fetch_files(known, root, progress=_moved(advance))
    found = dataset_info(known, root)
    for file in files:
        output.show(str(file))
    output.finish(found | {"fetched": [str(file) for file in files]})
    return 0 if found["present"] else 1


@app.command
def verify(name: str, /, *, root: Root = None, json: Json = False) -> int:
    """Read all files of a data set and hold them against their published checksums.

    Exit code 1 if a file is missing or differs.

    Args:
        name: of the data set.
    """
    from bitspike.data import dataset_info

    found = dataset_info(known_name(name), root, verify=True)
    checked = [item["checksum"] for item in found["files"]]
    # Several packings of one content may lie there; one that is whole is enough, one that is wrong is not.
    passed = bool(found["present"]) and not {"wrong", "unreadable", "damaged"} & set(checked)
    output = Output(json)
    _show(output, found, checked=True)
    if not found["present"]:
        verdict = f"{name} is not complete: {found['advice']}"
    elif not checked:
        verdict = f"{name} has no published checksums; nothing was compared"
    else:
        verdict = f"{name} is as published" if passed else f"{name} is damaged or not the published one; fetch it again"
    output.show(verdict)
    output.finish(found | {"passed": passed, "verdict": verdict})
    return 0 if passed else 1


def known_name(name: str) -> str:
    """The name, or an error with the nearest ones."""
    from difflib import get_close_matches

    from bitspike.data import dataset_names

    names = dataset_names()
    if name in names:
        return name
    near = get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ValueError(
        f'there is no data set "{name}"; {hint}allowed: {", ".join(names)} (with data of your own work from Python, as '
        "docs/how-to/bring-your-own-data.md shows)"
    )


def _presence(item: dict[str, Any]) -> str:
    if item["present"]:
        return "present"
    return "incomplete" if item["where"] else "missing"


def _state(file: dict[str, Any], *, checked: bool) -> str:
    if not checked and file["path"] is not None and file["checksum"] != "damaged":
        return "present"
    return f"{file['checksum']}: {file['reason']}" if file.get("reason") else str(file["checksum"])


def _show(output: Output, item: dict[str, Any], *, checked: bool) -> None:
    steps = f", {item['time_steps']} time steps unless told" if item["time_steps"] else ""
    output.show(
        f"{item['name']}: {item['kind']} of {shape(item['shape'])}{steps}, {item['classes']} classes, "
        f"{item['train']:,} train and {item['test']:,} test samples; {_presence(item)}"
    )
    if item["where"]:
        output.show(f"in {item['where']}")
    if not item["present"]:
        output.show(f"looked in {', '.join(item['looked'])}; {item['advice']}")
    if item["files"]:
        states = [_state(one, checked=checked) for one in item["files"]]
        rows = [
            (one["file"], "" if one["bytes"] is None else size(one["bytes"]), state)
            for one, state in zip(item["files"], states, strict=True)
        ]
        output.show(table("", ("file", "size", "checksum" if checked else ""), rows, left=(0, 2)))


def _moved(advance: Callable[[int], None]) -> Callable[[str, int, int | None], None]:
    """Turns "this many bytes of that file so far" into steps of a bar."""
    so_far: dict[str, int] = {}

    def moved(file: str, done: int, _total: int | None) -> None:
        advance(done - so_far.get(file, 0))
        so_far[file] = done

    return moved
