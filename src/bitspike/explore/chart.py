"""Two pictures of a page as SVG, written by hand, so that a page needs neither matplotlib nor another file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from bitspike.explore.exploration import Exploration
from bitspike.explore.significance import Curve, Significance

COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#0a7ea4", "#bf3989", "#57606a")
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 26, 44
_SHOWN = 25.0
"""Points of accuracy that a picture shows at most: candidates at chance would press all others into one line."""


@dataclass
class Chart:
    """A frame with axes; x and y: the least and the largest value, a logarithmic axis where `log`."""

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    log: bool = False
    width: int = 720
    height: int = 400
    parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies, in the picture; what lies below the frame is drawn at its lower edge."""
        position: Callable[[float], float] = math.log10 if self.log else float
        low, high = position(self.x[0]), position(self.x[1])
        share = (position(x) - low) / (high - low or 1)
        up = (max(y, self.y[0]) - self.y[0]) / (self.y[1] - self.y[0] or 1)
        inside = self.height - _TOP - _BOTTOM
        return _LEFT + share * (self.width - _LEFT - _RIGHT), self.height - _BOTTOM - up * inside

    def dot(self, x: float, y: float, told: str, colour: str, radius: float = 3, *, ring: bool = False) -> None:
        """One point; what it is shows when the mouse rests on it."""
        left, top = self.at(x, y)
        look = f'fill="none" stroke="{colour}" stroke-width="2"' if ring else f'fill="{colour}"'
        self.parts.append(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius}" {look}><title>{escape(told)}</title></circle>'
        )

    def line(self, points: Iterable[tuple[float, float]], colour: str, *, dotted: bool = False) -> None:
        """Points, joined."""
        places = " ".join(f"{left:.1f},{top:.1f}" for left, top in (self.at(*point) for point in points))
        dashes = ' stroke-dasharray="3 3"' if dotted else ""
        self.parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}"{dashes}/>')

    def key(self, entries: Sequence[tuple[str, str]]) -> None:
        """What the colours mean: (text, colour), lower right, in the frame."""
        for place, (text, colour) in enumerate(entries):
            top = self.height - _BOTTOM - 12 - 15 * (len(entries) - 1 - place)
            self.parts.append(
                f'<circle cx="{self.width - 190}" cy="{top - 4}" r="4" fill="{colour}"/>'
                f'<text x="{self.width - 180}" y="{top}">{escape(text)}</text>'
            )

    def svg(self, x_ticks: Sequence[tuple[float, str]]) -> str:
        """The picture."""
        axes = []
        for value, text in x_ticks:
            left, _ = self.at(value, self.y[0])
            axes.append(
                f'<line x1="{left:.1f}" x2="{left:.1f}" y1="{_TOP}" y2="{self.height - _BOTTOM}" class="grid"/>'
            )
            axes.append(f'<text x="{left:.1f}" y="{self.height - _BOTTOM + 15}" class="middle">{escape(text)}</text>')
        for value in _round_values(*self.y):
            _, top = self.at(self.x[0], value)
            axes.append(f'<line x1="{_LEFT}" x2="{self.width - _RIGHT}" y1="{top:.1f}" y2="{top:.1f}" class="grid"/>')
            axes.append(f'<text x="{_LEFT - 6}" y="{top + 4:.1f}" class="end">{value:g}</text>')
        middle = _TOP + (self.height - _TOP - _BOTTOM) / 2
        words = (
            f'<text x="{_LEFT}" y="16" class="title">{escape(self.title)}</text>'
            f'<text x="{self.width / 2:.0f}" y="{self.height - 8}" class="middle">{escape(self.x_label)}</text>'
            f'<text transform="translate(14 {middle:.0f}) rotate(-90)" class="middle">{escape(self.y_label)}</text>'
        )
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" role="img" '
            f'aria-label="{escape(self.title)}">{"".join(axes)}{words}{"".join(self.parts)}</svg>'
        )


def front_chart(found: Exploration, picked: int | None = None) -> str:
    """Accuracy against memory of all candidates, the front joined; picked: the number of a candidate to ring."""
    baseline, rows, best = found.baseline, found.finished, found.front
    memories = [row.memory for row in rows] + [baseline.memory]
    accuracies = [row.accuracy for row in rows] + [baseline.accuracy]
    span = (min(memories) / 1.1, max(memories) * 1.1)
    chart = Chart("", span, _upper_part(accuracies), "total memory (bytes)", "validation accuracy (%)", log=True)
    level = 100 * baseline.accuracy - 1
    if level > chart.y[0]:
        chart.line([(span[0], level), (span[1], level)], "#57606a", dotted=True)
    on_front = {row.number for row in best}
    steps: list[tuple[float, float]] = []
    for row in best:
        steps += [(row.memory, steps[-1][1])] if steps else []
        steps.append((row.memory, 100 * row.accuracy))
    chart.line(steps, COLOURS[0])
    for row in sorted(rows, key=lambda row: row.number in on_front):
        told = f"number {row.number}: {100 * row.accuracy:.2f} %, {row.memory:,} bytes"
        front = row.number in on_front
        chart.dot(row.memory, 100 * row.accuracy, told, COLOURS[0] if front else "#9aa5b1", 4 if front else 3)
        if row.number == picked:
            chart.dot(row.memory, 100 * row.accuracy, f"picked, {told}", COLOURS[1], 8, ring=True)
    chart.dot(baseline.memory, 100 * baseline.accuracy, found.start, "#1f2328", 5)
    chart.key(
        [("candidates", "#9aa5b1"), ("front", COLOURS[0]), (found.start, "#1f2328")]
        + ([(f"picked, number {picked}", COLOURS[1])] if picked is not None else [])
    )
    return chart.svg([(value, f"{value:,.0f}") for value in _round_powers(*span)])


def significance_charts(found: Significance) -> list[str]:
    """Accuracy against bits: one group at a time, and one layer at a time."""
    told = (
        ("one group at a time", [curve for curve in found.curves if not curve.layer]),
        ("one layer at a time", [curve for curve in found.curves if curve.layer]),
    )
    return [_curves_chart(title, curves, found) for title, curves in told if curves]


def _curves_chart(title: str, curves: Sequence[Curve], found: Significance) -> str:
    accuracies = [value for curve in found.curves for value in curve.accuracy.values()]
    widths = sorted({bits for curve in found.curves for bits in curve.accuracy})
    reach = (float(widths[0]), float(widths[-1]))
    level = 100 * found.baseline.accuracy
    chart = Chart(
        title, reach, _upper_part([*accuracies, found.baseline.accuracy]), "bits", "validation accuracy (%)", width=520
    )
    chart.line([(reach[0], level), (reach[1], level)], "#57606a", dotted=True)
    for place, curve in enumerate(curves):
        colour = COLOURS[place % len(COLOURS)]
        chart.line([(bits, 100 * accuracy) for bits, accuracy in curve.accuracy.items()], colour)
        for bits, accuracy in curve.accuracy.items():
            chart.dot(bits, 100 * accuracy, f"{curve.name}, {bits} bits: {100 * accuracy:.2f} %", colour)
    named = [(curve.name, COLOURS[place % len(COLOURS)]) for place, curve in enumerate(curves)]
    chart.key(named[: len(COLOURS)])  # the table beside it has them all
    return chart.svg([(bits, str(bits)) for bits in widths])


def _upper_part(accuracies: Sequence[float]) -> tuple[float, float]:
    top = 100 * max(accuracies)
    return max(top - _SHOWN, 100 * min(accuracies) - 1), top + 1


def _round_values(low: float, high: float) -> list[float]:
    """Some five round numbers in between."""
    rough = (high - low) / 5 or 1
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(count * step, 10) for count in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _round_powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten in between; only the powers where that is too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine = [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]
    return fine if len(fine) <= 8 else [value for value in fine if math.log10(value).is_integer()]
