"""Rows as tables: mean and deviation over seeds, and the distance from the row that is compared with."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def summary(rows: Sequence[Mapping[str, Any]], table: str, data: str) -> list[dict[str, Any]]:
    """One line for each row name: mean, deviation and number of seeds, in the order of first appearance."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if (row["settings"]["table"], row["settings"]["data"]) == (table, data):
            found.setdefault(row["settings"]["row"], []).append(row)
    lines = []
    for name, group in found.items():
        accuracies = [row["accuracy"] for row in group]
        lines.append(
            {
                "row": name,
                "mean": statistics.fmean(accuracies),
                "deviation": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
                "seeds": len(accuracies),
                "form": group[0]["form"],
                "firing": _mean_rates([row["firing_rates"] for row in group]),
            }
        )
    return lines


def before_pruning(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the networks before their channels went; runs that started from another's network are left out."""
    return [
        {**row, "accuracy": row["before_pruning"]["test_accuracy"]}
        for row in rows
        if "before_pruning" in row and not any(change.startswith("start=") for change in row["settings"]["changes"])
    ]


def _mean_rates(rates: Sequence[Mapping[str, float]]) -> list[float]:
    return [statistics.fmean(each[name] for each in rates) for name in rates[0]]


def as_markdown(lines: Sequence[Mapping[str, Any]], against: str) -> str:
    """A table in the form that the documentation uses."""
    base = next((line["mean"] for line in lines if line["row"] == against), None)
    text = [f"| | accuracy | seeds | points from {against} | firing |", "|---|---|---|---|---|"]
    for line in lines:
        spread = "" if line["deviation"] is None else f" ± {100 * line['deviation']:.2f}"
        distance = "" if base is None or line["row"] == against else f"{100 * (line['mean'] - base):+.2f}"
        firing = " / ".join(f"{100 * rate:.1f}" for rate in line["firing"])
        accuracy = f"{100 * line['mean']:.2f}{spread} %" + (" (float)" if line["form"] == "float" else "")
        text.append(f"| {line['row']} | {accuracy} | {line['seeds']} | {distance} | {firing} % |")
    return "\n".join(text)
