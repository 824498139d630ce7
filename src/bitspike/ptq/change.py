"""A partial description of a quantization, put on top of what every layer has.

`quantize_` gives all layers what a `QuantSpec` says. A network that is trained has leaks, thresholds and resets of its
own, perhaps another in every layer; what is asked of it is "4 bits for the weights", and all else shall stay.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bitspike.spec import (
    FLOAT_BITS,
    GRID_SCALES,
    MAX_LEAK_EXPONENT,
    WEIGHT_GRIDS,
    LayerSpec,
    MembraneSpec,
    QuantSpec,
    WeightSpec,
    nearest_leak,
    with_changes,
)

RANGES = ("threshold", "max", "percentile", "mse")
"""Words that `membrane.range` takes besides a number: the threshold, or found from potentials; see `ptq.ranges`."""

LEAK_BITS = "leak_bits"


class _Anything:
    def __contains__(self, value: object) -> bool:
        return True


_TABLES = ("bits", "weight", "membrane", "ends", "override")

_FINER = {item.name for item in fields(WeightSpec)} - {"bits"}
_WIDER: dict[str, Container[Any]] = {
    "grid": [name for name in WEIGHT_GRIDS if name != "binary"],
    "scale": {scale for scales in GRID_SCALES.values() for scale in scales} - set(GRID_SCALES["binary"]),
    **dict.fromkeys(("percentile", "rounding", "fraction", "seed"), _Anything()),
}
"""Fields of weights, and values of theirs, that only grids of 2 bits and more have."""


@dataclass(frozen=True)
class Wanted:
    """What one layer gets: its description, and how its membrane's range is found ("" where it says so itself)."""

    layer: LayerSpec
    range: str = ""


@dataclass(frozen=True)
class SpecChange:
    """Fields of descriptions that change, as a recipe's `quant` table names them.

    weight and ends: of hidden layers' weights and of the ends'; membrane: of all membranes; overrides: pattern of
    layers' names -> tables weight and membrane. All patterns that match a layer count, in their order.

    Beyond a recipe's table, `membrane.range` may be one of `RANGES`, and `membrane.leak_bits = b` takes the nearest of
    the leaks k / 2^b. A leak that shifts cannot express becomes the nearest one that they can, where a membrane is
    quantized; a reset that acts behind the leak (`MembraneSpec.resets_behind_leak`) then still does.
    """

    weight: Mapping[str, Any] = field(default_factory=dict)
    membrane: Mapping[str, Any] = field(default_factory=dict)
    ends: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: SpecChange | QuantSpec | Mapping[str, Any] | str) -> SpecChange:
        """A change, the short form "4w4u" of one, a table, or all that a `QuantSpec` says."""
        if isinstance(given, SpecChange):
            return given
        if isinstance(given, QuantSpec):
            return cls.of(given.to_dict())
        table: Mapping[str, Any] = {"bits": given} if isinstance(given, str) else given
        if not isinstance(table, Mapping):
            raise TypeError(f"the quantization is of type {type(given).__name__}; give a short form or a table")
        for key in table:
            if key not in _TABLES:
                raise ValueError(f"quant: the key is {key!r}; allowed: {', '.join(_TABLES)}")
        base = _short(str(table["bits"])) if "bits" in table else cls()
        parts = [_table(key, table.get(key, {})) for key in ("weight", "membrane", "ends")]
        overrides = {
            str(pattern): _override(pattern, value)
            for pattern, value in _table("override", table.get("override", {})).items()
        }
        return cls({**base.weight, **parts[0]}, {**base.membrane, **parts[1]}, {**base.ends, **parts[2]}, overrides)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `of` reads it back to an equal object."""
        tables = {"weight": self.weight, "membrane": self.membrane, "ends": self.ends, "override": self.overrides}
        return {name: _plain(table) for name, table in tables.items() if table}

    def refuse_unmatched(self, names: Iterable[str]) -> None:
        """Refuse a pattern that no layer's name matches."""
        known = list(names)
        for pattern in self.overrides:
            if not fnmatch.filter(known, pattern):
                raise ValueError(f"the override {pattern!r} matches no layer; layers are {', '.join(known)}")

    def apply(self, name: str, layer: LayerSpec, *, end: bool) -> Wanted:
        """What a layer that has this description gets: all tables that speak of it, the later ones on top, as one."""
        weight, membrane = dict(self.ends if end else self.weight), dict(self.membrane)
        where = "ends" if end else "weight"
        for pattern, tables in self.overrides.items():
            if fnmatch.fnmatchcase(name, pattern):
                weight = _on_top(weight, tables.get("weight", {}))
                membrane |= tables.get("membrane", {})
                where = f'override."{pattern}".weight' if "weight" in tables else where
        changed, how = _changed_membrane("membrane", layer.membrane, membrane)
        found = LayerSpec(_changed_weight(where, layer.weight, weight), changed)
        return Wanted(found, "" if changed.is_float else how)


def _on_top(table: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """A table with another on top: what was said for another grid, or of another scale, does not hold any more."""
    stale: set[str] = set()
    grid, bits = table.get("grid"), change.get("bits", table.get("bits"))
    if "grid" not in change and grid in WEIGHT_GRIDS and bits not in WEIGHT_GRIDS[grid]:
        stale = {"grid", "scale", "rounding", "fraction"}  # the grid is chosen afresh for that width
    elif change.get("grid", table.get("grid")) != table.get("grid"):
        stale = {"scale", "rounding", "fraction"}
    elif change.get("scale", table.get("scale")) != table.get("scale"):
        stale = {"fraction"}
    return {**{key: value for key, value in table.items() if key not in stale}, **change}


def _short(text: str) -> SpecChange:
    spec = QuantSpec.parse(text)
    plain = spec.to_dict()
    has_weight, has_membrane = "w" in text, "u" in text
    membrane = {"bits": spec.membrane.bits} if has_membrane else {}
    return SpecChange(plain["weight"] if has_weight else {}, membrane, plain["ends"] if has_weight else {})


def _override(pattern: object, value: object) -> dict[str, Mapping[str, Any]]:
    where = f'override."{pattern}"'
    if isinstance(value, str):
        short = _short(value)
        return {"weight": short.weight, "membrane": short.membrane}
    table = _table(where, value)
    for key in table:
        if key not in ("weight", "membrane"):
            raise ValueError(f"{where}: the key is {key!r}; allowed: weight, membrane")
    return {part: _table(f"{where}.{part}", table[part]) for part in ("weight", "membrane") if part in table}


def _table(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}; allowed: a table")
    return dict(value)


def _plain(table: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _plain(value) if isinstance(value, Mapping) else value for key, value in table.items()}


def _changed_weight(where: str, base: WeightSpec, table: Mapping[str, Any]) -> WeightSpec:
    """Fields that mean nothing at the width that comes out are left out, so that one table can speak of many widths.

    Binary weights have one grid and nothing to round, float weights not even that.
    """
    bits = table.get("bits", base.bits)
    if bits == FLOAT_BITS:
        table = {key: value for key, value in table.items() if key not in _FINER}
    elif bits == 1:
        table = {key: value for key, value in table.items() if key not in _WIDER or value not in _WIDER[key]}
    return with_changes(where, base, table)


def _changed_membrane(where: str, base: MembraneSpec, table: Mapping[str, Any]) -> tuple[MembraneSpec, str]:
    plain = {key: value for key, value in table.items() if key != LEAK_BITS}
    wanted, how = plain.get("range"), ""
    if isinstance(wanted, str) and wanted != "threshold":
        if wanted not in RANGES:
            raise ValueError(f"{where}.range is {wanted!r}; allowed: a positive number, {', '.join(RANGES)}")
        how = wanted
        plain["range"] = None
    bits = plain.get("bits", base.bits)
    places = table.get(LEAK_BITS, MAX_LEAK_EXPONENT)
    if isinstance(places, bool) or not isinstance(places, int) or not 1 <= places <= MAX_LEAK_EXPONENT:
        raise ValueError(f"{where}.{LEAK_BITS} is {places!r}; allowed: 1 to {MAX_LEAK_EXPONENT}")
    if "leak" not in plain and (bits != FLOAT_BITS or LEAK_BITS in table):
        plain["leak"] = nearest_leak(base.leak, places)
    changed = with_changes(where, base, plain)
    if changed.reset == "soft" and "subtract" not in plain and base.resets_behind_leak and changed.leak > 0:
        changed = replace(changed, subtract=changed.threshold / float(changed.leak))
    return changed, how
