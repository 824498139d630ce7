"""Pictures: files of the right kind, and what is said without matplotlib."""

import sys

import pytest
from tables import exploration

from bitspike.explore import Curve, Significance
from bitspike.explore.plot import plot_front, plot_significance
from bitspike.explore.selection import Baseline

SWEEP = Significance(
    Baseline(0.9, 1000),
    0.89,
    (
        Curve("weights", "", "weight.bits", {1: 0.5, 4: 0.85, 8: 0.89}),
        Curve("weights", "conv1", "override.conv1.weight.bits", {1: 0.6, 8: 0.89}),
    ),
)


@pytest.mark.parametrize(("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_pictures(kind, begins):
    pytest.importorskip("matplotlib")
    found = exploration()
    drawn = plot_front(found, found.row(1), kind=kind)
    assert drawn.startswith(begins)
    assert drawn != plot_front(found, kind=kind)
    assert plot_significance(SWEEP, kind=kind).startswith(begins)


def test_the_same_table_gives_the_same_picture():
    pytest.importorskip("matplotlib")
    assert plot_front(exploration()) == plot_front(exploration())


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    for draw in (lambda: plot_front(exploration()), lambda: plot_significance(SWEEP)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'bitspike\[report\]'"):
            draw()
