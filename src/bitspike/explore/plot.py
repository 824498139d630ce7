"""Pictures of an exploration: the candidates and their front, and how accuracy depends on bits."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from bitspike.explore.exploration import Exploration, Row
from bitspike.explore.significance import Significance


def plot_front(found: Exploration, picked: Row | None = None, *, kind: str = "png") -> bytes:
    """Accuracy against memory of all candidates, the front joined, the float network and the one picked marked."""
    figure, (axes,) = _figure((7.2, 4.6))
    baseline = found.baseline
    rows = found.finished
    axes.scatter([row.memory for row in rows], _percent(rows), s=14, color="#9aa5b1", label=f"{len(rows)} candidates")
    best = found.front
    axes.step([row.memory for row in best], _percent(best), where="post", color="#1f6feb", linewidth=1.2)
    axes.scatter([row.memory for row in best], _percent(best), s=26, color="#1f6feb", label="front", zorder=3)
    axes.scatter([baseline.memory], [100 * baseline.accuracy], marker="D", color="#333", label=found.start, zorder=3)
    axes.axhline(100 * baseline.accuracy - 1, color="#333", linewidth=0.8, linestyle=":")
    axes.text(baseline.memory, 100 * baseline.accuracy - 1, "1 point below ", ha="right", va="top", fontsize=8)
    if picked is not None:
        axes.scatter(
            [picked.memory],
            [100 * picked.accuracy],
            s=110,
            facecolors="none",
            edgecolors="#d1242f",
            linewidths=1.8,
            label=f"picked, number {picked.number}",
            zorder=4,
        )
    axes.set_xscale("log")
    axes.set_xlabel("total memory (bytes)")
    axes.set_ylabel("accuracy on the validation samples (%)")
    _show_upper_part(axes, [row.accuracy for row in rows] + [baseline.accuracy])
    axes.legend(loc="lower right", fontsize=8)
    return _written(figure, kind)


def plot_significance(found: Significance, *, kind: str = "png") -> bytes:
    """One curve for each group, and one for each layer."""
    figure, both = _figure((10.5, 4.4), 2)
    for whole, axes in zip((True, False), both, strict=True):
        for curve in found.curves:
            if (not curve.layer) == whole:
                axes.plot(
                    list(curve.accuracy),
                    [100 * value for value in curve.accuracy.values()],
                    marker="o",
                    markersize=3,
                    label=curve.name,
                )
        axes.axhline(100 * found.baseline.accuracy, color="#333", linewidth=0.8, linestyle=":", label=found.start)
        axes.set_xlabel("bits")
        axes.set_ylabel("accuracy on the validation samples (%)")
        axes.set_title("one group at a time" if whole else "one layer at a time", fontsize=10)
        _show_upper_part(axes, [value for curve in found.curves for value in curve.accuracy.values()])
        axes.legend(fontsize=7)
    return _written(figure, kind)


def _figure(size: tuple[float, float], columns: int = 1) -> tuple[Any, list[Any]]:
    """A figure and its parts, side by side; drawn without a screen, and without touching pyplot's state."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "pictures need matplotlib: pip install 'bitspike[report]'", name="matplotlib"
        ) from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    parts = [figure.add_subplot(1, columns, place + 1) for place in range(columns)]
    for axes in parts:
        axes.grid(alpha=0.25)
    return figure, parts


def _percent(rows: Sequence[Row]) -> list[float]:
    return [100 * row.accuracy for row in rows]


def _show_upper_part(axes: Any, accuracies: Sequence[float]) -> None:
    """Candidates at chance would press all others into one line, so no more than 25 points are shown."""
    top = 100 * max(accuracies)
    axes.set_ylim(max(top - 25, 100 * min(accuracies) - 1), top + 1)


def _written(figure: Any, kind: str) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format=kind, dpi=130, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return written.getvalue()
