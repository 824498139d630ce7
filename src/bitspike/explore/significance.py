"""`significance`: how many bits every group of parameters and every layer needs, one at a time.

All others stay at 8 bits, thresholds at 16, so that every network is an integer one; how far that is from the float
network is told as well. The flatter a curve, the fewer bits its group can do with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from bitspike.block.spec_of import layer_states
from bitspike.data import Dataset
from bitspike.explore.exploration import Exploration
from bitspike.explore.explore import explore
from bitspike.explore.selection import Baseline
from bitspike.explore.space import Space

WIDEST = 8
GROUPS = {
    "weights": "weight.bits",
    "ends": "ends.bits",
    "membrane": "membrane.bits",
    "threshold": "membrane.threshold_bits",
    "leak": "membrane.leak_bits",
}
"""Groups of parameters, and the dimension that each is: hidden weights, first and last weights, stored potentials,
thresholds with the rounding constants (to which biases and batch norms come down), leaks."""

_WIDTHS: dict[str, Sequence[int]] = {
    "weights": range(WIDEST, 0, -1),
    "ends": range(WIDEST, 0, -1),
    "membrane": range(WIDEST, 1, -1),
    "threshold": (16, 12, 10, 8, 7, 6, 5, 4, 3, 2),
    "leak": range(WIDEST, 0, -1),
}


@dataclass(frozen=True)
class Curve:
    """Accuracy against bits of one group of `GROUPS`, in all layers or in one."""

    group: str
    layer: str
    dimension: str
    accuracy: dict[int, float]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        if not self.layer:
            return self.group
        return f"{self.layer} {'membrane' if self.group == 'membrane' else 'weights'}"

    def needed(self, bound: float) -> int:
        """The least bits from which on upwards the accuracy is at least `bound`; the widest if it never is."""
        bits = max(self.accuracy)
        for width in sorted(self.accuracy, reverse=True):
            if self.accuracy[width] < bound:
                break
            bits = width
        return bits


@dataclass(frozen=True)
class Significance:
    """The curves, the float network, and the accuracy with 8 bits everywhere; start: `Exploration.start`."""

    baseline: Baseline
    widest: float
    curves: tuple[Curve, ...]
    start: str = "float network"

    def space(self, within: float = 0.01) -> Space:
        """A space to search: around what every group needs to lose at most `within` on its own.

        One width below it, for groups that others make up for, two above, for losses that add up. A layer whose
        weights need another width than its group gets a dimension of its own.
        """
        bound = self.widest - within
        whole = {curve.group: curve for curve in self.curves if not curve.layer}
        dimensions: dict[str, Sequence[Any]] = {}
        for curve in self.curves:
            if curve.group == "leak" and len(set(curve.accuracy.values())) == 1:
                continue  # its leaks are what shifts express anyway
            if not curve.layer or curve.needed(bound) < whole[curve.group].needed(bound):
                dimensions[curve.dimension] = _around(curve.needed(bound), curve.accuracy)
        return Space(dimensions)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "baseline": asdict(self.baseline),
            "start": self.start,
            "widest": self.widest,
            "curves": [
                {
                    "name": curve.name,
                    "group": curve.group,
                    "layer": curve.layer,
                    "dimension": curve.dimension,
                    "accuracy": {str(bits): accuracy for bits, accuracy in curve.accuracy.items()},
                }
                for curve in self.curves
            ],
        }

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> Significance:
        """Read `to_dict`'s form."""
        curves = tuple(
            Curve(
                str(curve["group"]),
                str(curve["layer"]),
                str(curve["dimension"]),
                {int(bits): float(accuracy) for bits, accuracy in curve["accuracy"].items()},
            )
            for curve in plain["curves"]
        )
        told = plain["baseline"]
        baseline = Baseline(float(told["accuracy"]), int(told["memory"]), int(told.get("samples", 0)))
        return Significance(baseline, float(plain["widest"]), curves, str(plain["start"]))


def significance(
    net: nn.Module, data: Dataset, *, out: str | Path | None = None, name: str = "significance", **options: Any
) -> Significance:
    """Sweep the bits of one group, and of one layer, at a time; `options` are those of `explore`, such as workers.

    out: a folder; the two tables are kept below it, and a killed sweep goes on from there.
    name: of the sweep in a database (`storage`), where it is two studies, NAME-groups and NAME-layers.
    """
    curves: list[Curve] = []
    for part in ("groups", "layers"):  # apart, since a layer's own bits would stand above its group's
        dimensions = {
            name: (group, layer)
            for name, (group, layer) in _dimensions(net).items()
            if bool(layer) == (part == "layers")
        }
        widths = {name: list(_WIDTHS[group]) for name, (group, _) in dimensions.items()}
        space = Space(widths, {"bits": f"{WIDEST}w{WIDEST}u"})
        place = None if out is None else Path(out) / part
        found = explore(net, data, space, sampler="one-at-a-time", out=place, name=f"{name}-{part}", **options)
        curves += _curves(found, dimensions)
    return Significance(found.baseline, found.row(0).accuracy, tuple(curves), found.start)


def _curves(found: Exploration, dimensions: Mapping[str, tuple[str, str]]) -> list[Curve]:
    rows = {row.number: row for row in found.finished}
    if 0 not in rows:
        told = found.failed[0].numbers["error"] if found.failed else "it was not evaluated"
        raise ValueError(f"the network with {WIDEST} bits everywhere could not be made: {told}")
    curves = []
    for dimension, (group, layer) in dimensions.items():
        widest = _WIDTHS[group][0]
        accuracy = {widest: rows[0].accuracy}
        for row in rows.values():
            if row.choices[dimension] != widest:
                accuracy[int(row.choices[dimension])] = row.accuracy
        if group == "leak":  # widths that come to the same leaks as wider ones were not tried again
            for bits in range(WIDEST - 1, 0, -1):
                accuracy.setdefault(bits, accuracy[bits + 1])
        curves.append(Curve(group, layer, dimension, dict(sorted(accuracy.items()))))
    return curves


def _dimensions(net: nn.Module) -> dict[str, tuple[str, str]]:
    """Dimension of a space -> group and layer, "" for all layers."""
    states = layer_states(net)
    hidden = any(not state.end for state in states.values())
    found = {dimension: (group, "") for group, dimension in GROUPS.items() if hidden or group != "weights"}
    for layer, state in states.items():
        found[f"override.{layer}.weight.bits"] = ("ends" if state.end else "weights", layer)
        if state.spiking:
            found[f"override.{layer}.membrane.bits"] = ("membrane", layer)
    return found


def _around(bits: int, known: Mapping[int, float]) -> list[int]:
    return [width for width in sorted(known) if bits - 1 <= width <= bits + 2]
