"""What an exploration of an unsupervised network tries.

scheme       ptq (quantized as it is), itq-scratch (learned in integers from its first image)
bits.FIELD   as in a recipe's `bits` table: bits.weight, bits.membrane, bits.threshold, bits.rounding, ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, NamedTuple

from bitspike.explore.space import Choices, Space
from bitspike.stdp import StdpBits

_DEFAULT: dict[str, list[Any]] = {"bits.weight": [2, 3, 4, 5, 6, 8]}
_FIELDS = tuple(item.name for item in fields(StdpBits))


class StdpCandidate(NamedTuple):
    """One way to make a smaller network."""

    scheme: str
    bits: StdpBits


@dataclass(frozen=True)
class StdpSpace(Space):
    """dimensions: name -> values; base: a recipe's `bits` table that all candidates start from."""

    dimensions: Mapping[str, Sequence[Any]] = field(default_factory=lambda: dict(_DEFAULT))

    schemes: ClassVar[tuple[str, ...]] = ("ptq", "itq-scratch")

    def check_base(self) -> None:
        """Raise unless it is a table of widths."""
        if not isinstance(self.base, Mapping):
            raise ValueError(
                f"base is {self.base!r}; of an unsupervised network it is a table of bits, such as {{membrane = 12}}; "
                "on the command line give a dimension of one value, such as --try bits.membrane=12"
            )
        for name in self.base:
            self.check_name(f"bits.{name}")
        _bits(dict(self.base))

    def check_name(self, name: str) -> None:
        """Raise unless there is such a dimension."""
        table, _, last = name.partition(".")
        if name != "scheme" and (table != "bits" or last not in _FIELDS):
            raise ValueError(
                f"{name!r} is no dimension of an unsupervised network's space; allowed: scheme, "
                + ", ".join(f"bits.{known}" for known in _FIELDS)
            )

    def check_values(self, name: str, values: object) -> None:
        """Raise unless each of them can be."""
        super().check_values(name, values)
        if name != "scheme" and isinstance(values, Sequence):
            for value in values:
                _bits({name.partition(".")[2]: value})

    def widths(self, choices: Choices) -> StdpCandidate:
        """The candidate that choices stand for."""
        self.refuse_missing(choices)
        base = dict(self.base) if isinstance(self.base, Mapping) else {}
        chosen = {name.partition(".")[2]: value for name, value in choices.items() if name != "scheme"}
        return StdpCandidate(str(choices.get("scheme", "ptq")), _bits({**base, **chosen}))


def _bits(given: dict[str, Any]) -> StdpBits:
    """Widths as a recipe gives them; whole numbers may stand for real ones."""
    real = {item.name for item in fields(StdpBits) if item.type == "float"}
    for name in real & given.keys():
        if isinstance(given[name], bool) or not isinstance(given[name], int | float):
            raise ValueError(f"bits.{name} is {given[name]!r}; give a number")
    values: dict[str, Any] = {name: float(value) if name in real else value for name, value in given.items()}
    return StdpBits(**values)
