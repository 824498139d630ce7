"""Every quantization choice of a network in one frozen description.

`QuantSpec.parse("1w2u")` is the short form; a TOML table is the long one; both give the same object.
Bits of 32 mean "left in float": such a layer trains and evaluates, but has no integer form.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, Self, TypeVar

from bitspike.spec.checks import FLOAT_BITS, refuse
from bitspike.spec.membrane import MembraneSpec
from bitspike.spec.weight import DEFAULT_PERCENTILE, WEIGHT_GRIDS, WeightSpec


@dataclass(frozen=True)
class LayerSpec:
    """What one layer gets: its weights' and its membrane's description."""

    weight: WeightSpec = WeightSpec()
    membrane: MembraneSpec = MembraneSpec()

    def __post_init__(self) -> None:
        _refuse_others("LayerSpec", weight=(self.weight, WeightSpec), membrane=(self.membrane, MembraneSpec))


@dataclass(frozen=True)
class Override:
    """What is different in layers whose name matches the pattern, as a shell would match it.

    weight, membrane: fields of their descriptions with the values they get instead, ("bits", 4) for example. What is
    not named stays as it is: the hidden layers' or the ends'.
    """

    pattern: str
    weight: tuple[tuple[str, Any], ...] = ()
    membrane: tuple[tuple[str, Any], ...] = ()

    def apply(self, base: LayerSpec) -> LayerSpec:
        """The description of a matching layer."""
        where = f'override."{self.pattern}"'
        return LayerSpec(
            with_changes(f"{where}.weight", base.weight, dict(self.weight)),
            with_changes(f"{where}.membrane", base.membrane, dict(self.membrane)),
        )


def _refuse_others(owner: str, **given: tuple[Any, type[Any]]) -> None:
    """Short forms are what comes to mind first."""
    for name, (value, kind) in given.items():
        if not isinstance(value, kind):
            raise TypeError(
                f'{owner}.{name} is {value!r}; give a {kind.__name__}. QuantSpec.parse reads short forms such as "1w2u"'
            )


_SHORT = re.compile(r"^(?:(\d+)w)?(?:(\d+)u)?$")


def _bits_of(text: str) -> tuple[int | None, int | None]:
    if not isinstance(text, str):
        raise refuse("the quantization", text, 'a text, WEIGHTwMEMBRANEu such as "1w2u"')
    match = _SHORT.match(text.strip())
    if match is None or not text.strip():
        raise refuse("the quantization", text, 'WEIGHTwMEMBRANEu such as "1w2u", "4w4u", "32w32u"')
    weight, membrane = (int(group) if group else None for group in match.groups())
    return weight, membrane


def _hidden_weight(bits: int) -> WeightSpec:
    """Q-SNN's choice for hidden weights: standardized per channel; an annealed sign where it is binary."""
    if bits == 1:
        return WeightSpec(bits=1, normalize="channel", gradient="annealed_tanh")
    return WeightSpec(bits=bits)


@dataclass(frozen=True)
class QuantSpec:
    """The quantization of a whole network: hidden weights, membranes, the two ends, exceptions by name.

    `ends` holds for the first weighted layer and for every readout.
    """

    weight: WeightSpec = WeightSpec()
    membrane: MembraneSpec = MembraneSpec()
    ends: WeightSpec = WeightSpec()
    overrides: tuple[Override, ...] = field(default=())

    def __post_init__(self) -> None:
        _refuse_others(
            "QuantSpec",
            weight=(self.weight, WeightSpec),
            membrane=(self.membrane, MembraneSpec),
            ends=(self.ends, WeightSpec),
        )
        for override in self.overrides:  # wrong fields and values are refused here, by name
            try:
                override.apply(LayerSpec(self.weight, self.membrane))
            except ValueError:
                override.apply(LayerSpec(self.ends, self.membrane))  # it may be one for an end

    @classmethod
    def parse(cls, text: str) -> Self:
        """The description that a short form such as "1w2u" stands for.

        1 to 8 weight bits bring 8-bit ends with them; 32 leaves everything in float.
        """
        weight, membrane = _bits_of(text)
        bits = FLOAT_BITS if weight is None else weight
        ends = FLOAT_BITS if bits == FLOAT_BITS else 8
        membrane_spec = MembraneSpec(bits=FLOAT_BITS if membrane is None else membrane)
        return cls(_hidden_weight(bits), membrane_spec, WeightSpec(bits=ends))

    def for_layer(self, name: str, *, end: bool = False) -> LayerSpec:
        """What the layer of this name gets; the first pattern that matches wins."""
        base = LayerSpec(self.ends if end else self.weight, self.membrane)
        for override in self.overrides:
            if fnmatch.fnmatchcase(name, override.pattern):
                return override.apply(base)
        return base

    def short(self) -> str:
        """The short form, "1w2u", of the hidden layers; exceptions are not told."""
        return f"{self.weight.bits}w{self.membrane.bits}u"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back to an equal object."""
        plain: dict[str, Any] = {"weight": _plain(self.weight), "membrane": _plain(self.membrane)}
        plain["ends"] = _plain(self.ends)
        if self.overrides:
            plain["override"] = {
                item.pattern: {"weight": dict(item.weight), "membrane": dict(item.membrane)} for item in self.overrides
            }
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any] | str) -> Self:
        """Read `to_dict`'s form, a recipe's table or a short form.

        A table may name only what differs: `bits = "1w2u"` sets the base, the tables `weight`, `membrane`,
        `ends` and `override."PATTERN"` change single fields of it.
        """
        if isinstance(plain, str):
            return cls.parse(plain)
        _check_keys("quant", plain, ("bits", "weight", "membrane", "ends", "override"))
        base = cls.parse(str(plain["bits"])) if "bits" in plain else cls()
        weight = with_changes("weight", base.weight, plain.get("weight", {}))
        membrane = with_changes("membrane", base.membrane, plain.get("membrane", {}))
        ends = with_changes("ends", base.ends, plain.get("ends", {}))
        overrides = _table("override", plain.get("override", {}))
        return cls(weight, membrane, ends, tuple(_override(pattern, change) for pattern, change in overrides.items()))

    def to_toml(self) -> str:
        """The long form as TOML text."""
        lines: list[str] = []
        for name, table in self.to_dict().items():
            if name == "override":
                for pattern, parts in table.items():
                    for part, values in parts.items():
                        lines += [f"[override.{_quoted(pattern)}.{part}]", *_toml_lines(values), ""]
            else:
                lines += [f"[{name}]", *_toml_lines(table), ""]
        return "\n".join(lines)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read TOML text; see `from_dict` for what it may hold."""
        import tomllib

        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"the quantization is not valid TOML: {error}") from None
        return cls.from_dict(table)


# Not written where they have these values, so that a description reads as it did before there was a choice.
_UNWRITTEN: dict[str, object] = {"percentile": DEFAULT_PERCENTILE, "rounding": "nearest", "seed": 0}


def _plain(spec: WeightSpec | MembraneSpec) -> dict[str, Any]:
    values = {key: value for key, value in asdict(spec).items() if value is not None and value != ""}
    if isinstance(spec, MembraneSpec):
        values["leak"] = str(spec.leak)
        if not spec.strict:
            del values["strict"]
        if spec.threshold_bits == FLOAT_BITS:
            del values["threshold_bits"]
        return values
    return {key: value for key, value in values.items() if key not in _UNWRITTEN or _UNWRITTEN[key] != value}


def _table(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refuse(where, value, "a table")
    return value


def _check_keys(where: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in table:
        if key not in allowed:
            raise refuse(f"{where}: the key", key, ", ".join(allowed))


_Spec = TypeVar("_Spec", WeightSpec, MembraneSpec)


def with_changes(where: str, base: _Spec, change: object) -> _Spec:
    """A description with the fields of a table changed; `where` is what errors call the table."""
    table = dict(_table(where, change))
    _check_keys(where, table, tuple(item.name for item in fields(base)))
    if isinstance(base, WeightSpec):
        # Where another width needs another grid, and on another grid the scale, what is not named is chosen afresh.
        bits = table.get("bits", base.bits)
        fits = isinstance(bits, int) and bits in WEIGHT_GRIDS.get(base.grid, ())
        table = table if fits or bits == base.bits else {"grid": "", **table}
        if table.get("grid", base.grid) != base.grid:
            table = {"scale": "", "rounding": "nearest", **table}
        if table.get("scale", base.scale) != base.scale:
            table = {"fraction": None, **table}
    return replace(base, **table)


def _override(pattern: str, change: object) -> Override:
    if isinstance(change, str):
        weight_bits, membrane_bits = _bits_of(change)
        weight = {} if weight_bits is None else _plain(_hidden_weight(weight_bits))
        membrane = {} if membrane_bits is None else {"bits": membrane_bits}
        return Override(pattern, tuple(weight.items()), tuple(membrane.items()))
    where = f'override."{pattern}"'
    table = _table(where, change)
    _check_keys(where, table, ("weight", "membrane"))
    changes = [_table(f"{where}.{part}", table.get(part, {})) for part in ("weight", "membrane")]
    return Override(pattern, *(tuple((key, _as_written(value)) for key, value in part.items()) for part in changes))


def _as_written(value: Any) -> Any:
    """A value as files have it: fractions as text."""
    return str(value) if isinstance(value, Fraction) else value


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _toml_lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml_value(value)}" for key, value in table.items()]


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)
