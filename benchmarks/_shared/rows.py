"""Rows of a result: one comparison each. ratio > 1 means that we are ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _shared.timing import Series, round_ratios


def timing_row(case: str, peer: str, ours: Series, theirs: Series, *, headline: bool, **facts: Any) -> dict[str, Any]:
    """Milliseconds against milliseconds; the spread of the rounds' ratios stands beside the ratio of the medians."""
    row = value_row(case, peer, ours.median, theirs.median, "ms", runs=len(ours.rounds), headline=headline, **facts)
    ratios = round_ratios(ours.rounds, theirs.rounds)
    return row | {
        "ratio_lowest": significant(min(ratios)),
        "ratio_highest": significant(max(ratios)),
        "calls": ours.calls,
        "peer_calls": theirs.calls,
    }


def value_row(
    case: str, peer: str, ours: float, peer_value: float, unit: str, *, runs: int, headline: bool, **facts: Any
) -> dict[str, Any]:
    """Two numbers of which the smaller is the better one."""
    if ours <= 0 or peer_value <= 0:
        raise ValueError(f"{case} against {peer}: {ours} and {peer_value} {unit}; both must be positive")
    return {
        "case": case,
        "peer": peer,
        "ours": significant(ours),
        "peer_value": significant(peer_value),
        "unit": unit,
        "ratio": significant(peer_value / ours),
        "runs": runs,
        "headline": headline,
        **facts,
    }


def significant(value: float, digits: int = 5) -> float | int:
    """A number without the digits that mean nothing; whole numbers stay as they are."""
    return value if isinstance(value, int) else float(f"{value:.{digits}g}")


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows for a person: case, peer, both values, ratio and what the rounds said."""
    lines = [("case", "peer", "ours", "peer's", "ratio", "rounds")]
    for row in rows:
        spread = f"{row['ratio_lowest']:.3g} to {row['ratio_highest']:.3g}" if "ratio_lowest" in row else ""
        mark = " *" if row["headline"] else ""
        values = (f"{row[key]:,} {row['unit']}" for key in ("ours", "peer_value"))
        lines.append((row["case"] + mark, row["peer"], *values, f"{row['ratio']:.3g}", spread))
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    ranged = [f"{line[0]:<{widths[0]}}  {line[1]:<{widths[1]}}" for line in lines]
    return "\n".join(
        front + "".join(f"  {cell:>{width}}" for cell, width in zip(line[2:], widths[2:], strict=True))
        for front, line in zip(ranged, lines, strict=True)
    )
