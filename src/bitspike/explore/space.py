"""What an exploration tries: named dimensions, each with the values that it may take.

scheme            ptq (quantized as it is), itq (trained on from there), itq-scratch (trained from fresh weights)
prune             share of the channels that goes before
weight.FIELD, membrane.FIELD, ends.FIELD            as in a recipe's `quant` table, and as `SpecChange` takes them:
override.PATTERN.weight.FIELD, ....membrane.FIELD   weight.bits, membrane.range, membrane.leak_bits, ...
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

from bitspike.ptq.change import LEAK_BITS, SpecChange
from bitspike.spec import MembraneSpec, WeightSpec

SCHEMES = ("ptq", "itq", "itq-scratch")
Choices = Mapping[str, Any]
"""One value for every dimension."""

_SECTIONS = {"weight": WeightSpec, "ends": WeightSpec, "membrane": MembraneSpec}

DEFAULT_DIMENSIONS: dict[str, list[Any]] = {
    "weight.bits": [1, 2, 3, 4, 8],
    "membrane.bits": [2, 3, 4, 8],
    "ends.bits": [2, 3, 4, 8],
}


@dataclass(frozen=True)
class Candidate:
    """One way to make a smaller network.

    change: of the quantization; prune: share of the channels that goes before; scheme: one of `SCHEMES`.
    """

    change: SpecChange
    scheme: str = "ptq"
    prune: float = 0.0

    @property
    def trains(self) -> bool:
        """Whether it needs training."""
        return self.scheme != "ptq"


@dataclass(frozen=True)
class Space:
    """dimensions: name -> values; base: a recipe's `quant` table or short form that all candidates start from."""

    dimensions: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(DEFAULT_DIMENSIONS))
    base: Mapping[str, Any] | str = field(default_factory=dict)

    schemes: ClassVar[tuple[str, ...]] = SCHEMES

    def __post_init__(self) -> None:
        if not self.dimensions:
            raise ValueError("the space has no dimension; give one or more, such as weight.bits = [2, 4, 8]")
        self.check_base()
        for name, values in self.dimensions.items():
            self.check_name(name)
            self.check_values(name, values)

    @classmethod
    def of(cls, given: Space | Mapping[str, Any] | None) -> Self:
        """A space, the table of one ({"weight.bits": [2, 4], ..., "base": "4w4u"}), or the default one."""
        if given is None:
            return cls()
        if isinstance(given, cls):
            return given
        if isinstance(given, Space):
            return cls(given.dimensions, given.base)
        if not isinstance(given, Mapping):
            raise TypeError(f"the space is of type {type(given).__name__}; give a Space or a table of dimensions")
        table = dict(given)
        base = table.pop("base", {})
        return cls(_flat(table), base)

    def check_base(self) -> None:
        """Raise unless candidates can start from the base."""
        SpecChange.of(self.base)

    def check_name(self, name: str) -> None:
        """Raise unless there is such a dimension."""
        path(name)

    def check_values(self, name: str, values: object) -> None:
        """Raise unless they are a list of values of a dimension."""
        _check_values(name, values, self.schemes)

    @property
    def size(self) -> int:
        """How many candidates there are, those that contradict themselves or repeat others included."""
        return math.prod(len(values) for values in self.dimensions.values())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All choices; the last dimension changes fastest."""
        for values in itertools.product(*self.dimensions.values()):
            yield dict(zip(self.dimensions, values, strict=True))

    def one_at_a_time(self) -> Iterator[dict[str, Any]]:
        """The first value of every dimension, then each other value of one dimension alone."""
        first = {name: values[0] for name, values in self.dimensions.items()}
        yield first
        for name, values in self.dimensions.items():
            for value in values[1:]:
                yield {**first, name: value}

    def refuse_missing(self, choices: Choices) -> None:
        """Raise unless there is a choice for every dimension."""
        if missing := [name for name in self.dimensions if name not in choices]:
            raise ValueError(f"the choices say nothing of {', '.join(missing)}")

    def candidate(self, choices: Choices) -> Candidate:
        """The candidate that choices stand for."""
        self.refuse_missing(choices)
        base = SpecChange.of(self.base).to_dict()
        others: dict[str, Any] = {}
        for name, value in choices.items():
            if name in ("scheme", "prune"):
                others[name] = value
                continue
            *tables, last = path(name)
            at = base
            for part in tables:
                at = at.setdefault(part, {})
            at[last] = value
        return Candidate(SpecChange.of(base), **others)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `of` reads it back to an equal space."""
        found: dict[str, Any] = {name: list(values) for name, values in self.dimensions.items()}
        return found | ({"base": self.base} if self.base else {})


def split_name(name: str) -> tuple[str, ...]:
    """A dotted name as its way through the tables; patterns of layers may hold dots themselves."""
    parts = name.split(".")
    if parts[0] == "override" and len(parts) > 3 and parts[-2] in ("weight", "membrane"):
        return ("override", ".".join(parts[1:-2]), *parts[-2:])
    return tuple(parts)


def path(name: str) -> tuple[str, ...]:
    """A dimension's name as `split_name` has it, refused where there is no such dimension."""
    if name in ("scheme", "prune"):
        return (name,)
    found = split_name(name)
    known = [item.name for item in fields(_SECTIONS[found[-2]])] if len(found) > 1 and found[-2] in _SECTIONS else []
    known += [LEAK_BITS] if len(found) > 1 and found[-2] == "membrane" else []
    if len(found) not in (2, 4) or found[-1] not in known:
        about = f"; {found[-2]} has {', '.join(known)}" if known else ""
        raise ValueError(
            f"{name!r} is no dimension of a space{about}; allowed: scheme, prune, weight.FIELD, membrane.FIELD, "
            "ends.FIELD, override.PATTERN.weight.FIELD, override.PATTERN.membrane.FIELD"
        )
    return found


def _check_values(name: str, values: object, schemes: tuple[str, ...]) -> None:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise ValueError(f"{name} has the values {values!r}; give a list of one or more")
    told = [json.dumps(value) for value in values if isinstance(value, str | int | float)]
    if len(told) < len(values):
        raise ValueError(f"{name} has the values {list(values)!r}; each must be a number, text, true or false")
    if len(set(told)) < len(told):
        raise ValueError(f"{name} has the values {list(values)!r}; each may stand there once")
    for value in values:
        if name == "scheme" and value not in schemes:
            raise ValueError(f"scheme may be {value!r}; allowed: {', '.join(schemes)}")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "prune" and not (number and 0 <= float(value) < 1):
            raise ValueError(f"prune may be {value!r}; allowed: 0 up to less than 1, the share that goes")


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """TOML's nested tables as one, names joined by dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        found.update(_flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return found
