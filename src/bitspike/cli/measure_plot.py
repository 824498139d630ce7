"""`bitspike measure --plot`: levels in use, layer by layer, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitspike.cost import CostTable

FORMATS = (".png", ".svg", ".pdf")


def check_plot(path: Path | None) -> None:
    """Refuse, before anything is measured, a picture that could not be written."""
    if path is None:
        return
    if path.suffix not in FORMATS:
        raise ValueError(f"--plot {path}: the name of a picture ends in {', '.join(FORMATS)}")
    if not path.expanduser().parent.is_dir():
        raise ValueError(f"--plot {path}: there is no folder {path.parent}; make it first")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ModuleNotFoundError(
            "--plot needs matplotlib, which is not installed: pip install 'bitspike[report]'", name="matplotlib"
        ) from None


def draw_utilization(path: Path, first: CostTable, second: CostTable | None = None) -> None:
    """One bar a layer: the share of its levels that its weights use; a mark at QP-SNN's estimate where it is known."""
    from matplotlib.figure import Figure  # without pyplot, which would look for a display

    tables = [first] if second is None else [first, second]
    names = [row.name for row in first.rows if row.levels]
    if not names:
        raise ValueError(f"--plot: {first.name} has no layer on a grid; measure it in other bits, with --spec 4w4u say")
    figure = Figure(figsize=(max(6.0, 1.5 + 0.35 * len(names) * len(tables)), 4.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(tables)
    for number, table in enumerate(tables):
        rows = {row.name: row for row in table.rows}
        found = [rows.get(name) for name in names]
        places = [place + (number + 0.5) * width - 0.4 for place in range(len(names))]
        shares = [0.0 if row is None else 100 * (row.utilization or 0.0) for row in found]
        label = table.name if second is None else f"{('this', 'other')[number]}: {table.name}"
        axes.bar(places, shares, width=width, label=label)
        marks = [
            (place, 100 * row.utilization_estimate)
            for place, row in zip(places, found, strict=True)
            if row is not None and row.utilization_estimate is not None
        ]
        if marks:
            drawn = "estimate" if number == 0 else None
            axes.plot(*zip(*marks, strict=True), "k_", markersize=9, label=drawn)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_ylabel("levels in use, %")
    axes.set_ylim(0, 103)  # so that marks at the very top are seen
    figure.legend(loc="outside upper right", ncols=len(tables) + 1)
    figure.savefig(path.expanduser(), dpi=150)
