"""An exploration as one page of HTML: pictures and tables in a single file, without scripts and other files."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bitspike._version import __version__
from bitspike.atomic import atomic_write
from bitspike.explore.chart import front_chart, significance_charts
from bitspike.explore.exploration import Exploration, Row
from bitspike.explore.significance import Significance

PAGE, PICKED, SIGNIFICANCE = "exploration.html", "picked.json", "significance.json"
"""The page, and what it reads beside the table: candidates that were picked, and a sweep of the bits."""

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2328; background: #fff; max-width: 1100px; margin: 2em auto;
  padding: 0 1em; }
table { border-collapse: collapse; margin: 0.6em 0 1.4em; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2em 0.8em; border-bottom: 1px solid #d8dee4; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
td.text { text-align: left; overflow-wrap: anywhere; }
tr.picked td { background: #fff1f0; }
.wide { overflow-x: auto; }
svg { max-width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg .grid { stroke: #e7ebef; } svg .middle { text-anchor: middle; } svg .end { text-anchor: end; }
svg .title { font-weight: 600; }
summary { cursor: pointer; font-weight: 600; }
"""


def write_page(folder: Path, found: Exploration) -> Path:
    """Write the page of an exploration beside its table; what was picked and swept there is on it."""
    file = folder / PAGE
    atomic_write(file, exploration_page(found, read_picked(folder), read_significance(folder)).encode())
    return file


def read_picked(folder: Path) -> list[dict[str, Any]]:
    """What `bitspike pick` wrote about the candidates that it tested, the last one last."""
    file = folder / PICKED
    if not file.is_file():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not all(isinstance(item["number"], int) for item in found):
            raise ValueError("a number is missing")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from None
    return list(found)


def read_significance(folder: Path) -> Significance | None:
    """The sweep in a folder, if there is one."""
    file = folder / SIGNIFICANCE
    if not file.is_file():
        return None
    try:
        return Significance.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read: {error!r}") from None


def exploration_page(
    found: Exploration, picked: Sequence[Mapping[str, Any]] = (), significance: Significance | None = None
) -> str:
    """The page; the same table gives the same text."""
    last = int(picked[-1]["number"]) if picked else None
    baseline = found.baseline
    told = [f"{len(found.finished)} with numbers"]
    told += [f"{len(found.stopped)} stopped in training"] if found.stopped else []
    told += [f"{len(found.failed)} that could not be made"] if found.failed else []
    parts = [
        "<h1>Exploration</h1>",
        f"<p>{len(found.rows)} candidates: {', '.join(told)}. The {escape(found.start)} has "
        f"{100 * baseline.accuracy:.2f} % on the validation samples and takes {baseline.memory:,} bytes. Every number "
        "of a candidate is of the integer network that would ship; memory is weights, integers of channels or neurons, "
        "and the state of all layers.</p>",
        front_chart(found, last) if found.finished else "<p>No candidate is finished yet.</p>",
        *_picked_part(picked, found),
        "<h2>The front</h2><p>No other candidate is better in one of "
        f"{escape(', '.join(found.objectives))} and as good in all others.</p>",
        _candidates(found, found.front, last),
        f"<details><summary>All {len(found.rows)} candidates</summary>{_candidates(found, found.rows, last)}</details>",
        *_significance_part(significance),
        "<h2>Where it comes from</h2><p><code>bitspike pick FOLDER --number N</code> makes a candidate again.</p>",
        _table(("", ""), [*_identity(found.identity), ("bitspike", __version__)], text=True),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Exploration</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _picked_part(picked: Sequence[Mapping[str, Any]], found: Exploration) -> list[str]:
    if not picked:
        return []
    rows = []
    for item in picked:
        tests = [float(value) for value in item.get("test_accuracies_of_seeds") or [item["test_accuracy"]]]
        mean = f"{100 * statistics.mean(tests):.2f} ± {100 * statistics.stdev(tests):.2f}" if len(tests) > 1 else ""
        rows.append(
            (
                str(item["number"]),
                f"{100 * item['validation_accuracy']:.2f}",
                f"{100 * item['test_accuracy']:.2f}",
                f"{item['test_samples']:,}",
                mean,
                f"{item['memory']:,}",
                f"{found.baseline.memory / item['memory']:.1f}x",
            )
        )
    names = ("number", "validation %", "test %", "samples", "test %, mean of seeds", "bytes", "smaller")
    told = "<h2>Picked</h2><p>Tested once, after the choice; the last one was picked last.</p>"
    if len(picked) > 1:
        told += "<p>The test split was looked at more than once; the choice must not rest on it.</p>"
    return [told, _table(names, rows)]


def _candidates(found: Exploration, rows: Sequence[Row], picked: int | None) -> str:
    dimensions = list(dict.fromkeys(name for row in found.rows for name in row.choices))
    others = [name for name in found.objectives if name not in ("accuracy", "memory")]
    names = ("number", *dimensions, "accuracy %", "points", "bytes", "smaller", *others, "remarks")
    lines = []
    for row in rows:
        chosen = [str(row.choices.get(name, "")) for name in dimensions]
        lines.append((str(row.number), *chosen, *_numbers(found, row, others)))
    return _table(names, lines, marked=[place for place, row in enumerate(rows) if row.number == picked])


def _numbers(found: Exploration, row: Row, others: Sequence[str]) -> list[str]:
    """Accuracy, points, bytes, smaller, other objectives, remarks."""
    history = [f"{100 * value:.1f}" for value in row.numbers.get("history") or ()]
    remark = f"after each epoch {', '.join(history)}" if history else ""
    if row.state != "complete":
        remark = "; ".join(part for part in (row.state, str(row.numbers.get("error", "")), remark) if part)
        return [*[""] * (4 + len(others)), remark]
    baseline = found.baseline
    return [
        f"{100 * row.accuracy:.2f}",
        f"{100 * (row.accuracy - baseline.accuracy):+.2f}",
        f"{row.memory:,}",
        f"{baseline.memory / row.memory:.1f}x",
        *("" if row.numbers.get(name) is None else f"{row.numbers[name]:.4g}" for name in others),
        remark,
    ]


def _significance_part(found: Significance | None) -> list[str]:
    if found is None:
        return []
    widths = sorted({bits for curve in found.curves for bits in curve.accuracy})
    rows = [
        (curve.name, *(f"{100 * curve.accuracy[bits]:.2f}" if bits in curve.accuracy else "" for bits in widths))
        for curve in found.curves
    ]
    return [
        "<h2>Significance</h2><p>Validation accuracy in % by bits of one group, or one layer, all others at 8 "
        "bits, thresholds at 16. "
        f"The {escape(found.start)} has {100 * found.baseline.accuracy:.2f}, 8 bits everywhere "
        f"{100 * found.widest:.2f}.</p>",
        *significance_charts(found),
        _table(("", *(f"{bits} bits" for bits in widths)), rows),
    ]


def _identity(identity: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in identity.items()]


def _table(
    names: Sequence[str], rows: Sequence[Sequence[str]], *, marked: Sequence[int] = (), text: bool = False
) -> str:
    """A table; marked: rows to stand out; text: cells hold words."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names) if any(names) else ""
    lines, look, stands_out = [], ' class="text"' if text else "", ' class="picked"'
    for place, row in enumerate(rows):
        cells = "".join(f"<td{look}>{escape(cell)}</td>" for cell in row)
        lines.append(f"<tr{stands_out if place in marked else ''}>{cells}</tr>")
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f'<div class="wide"><table>{top}<tbody>{"".join(lines)}</tbody></table></div>'
