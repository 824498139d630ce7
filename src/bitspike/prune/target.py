"""What a pruned network may cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from bitspike.cost import LayerCost, memory, operations


@dataclass(frozen=True)
class Target:
    """One budget, the others None.

    memory: bytes, as `measure(net).memory.total` counts them: weights, per-channel integers, the membrane of all layers
    parameters: share of the network's parameters that may stay, above 0 and at most 1
    operations: share of its dense operations (`measure(net).operations.dense`), which need no samples
    """

    memory: int | None = None
    parameters: float | None = None
    operations: float | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("memory", "parameters", "operations") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"a target has {' and '.join(given) or 'nothing'}; give exactly one of memory, parameters, operations"
            )
        (kind,) = given
        if isinstance(getattr(self, kind), bool) or not isinstance(getattr(self, kind), int | float):
            raise ValueError(f"the target {kind} is {getattr(self, kind)!r}; give a number")
        if self.memory is not None and not 0 < self.memory < math.inf:
            raise ValueError(f"the target memory is {self.memory}; give a positive number of bytes")
        for name in ("parameters", "operations"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"the target {name} is {share}; give a share of what there is, above 0 and at most 1")

    @staticmethod
    def of(given: Target | Mapping[str, Any]) -> Target:
        """A target, or a table of one such as {"memory": 500_000}."""
        if isinstance(given, Target):
            return given
        kinds = [field.name for field in fields(Target)]
        if not isinstance(given, Mapping):
            raise TypeError(f"the target is {given!r}; give a Target, or a table of one of {', '.join(kinds)}")
        if unknown := [str(key) for key in given if key not in kinds]:
            raise ValueError(f"a target has {' and '.join(unknown)}; give exactly one of {', '.join(kinds)}")
        return Target(**given)

    def limit(self, before: Sequence[LayerCost], time_steps: int) -> float:
        """The largest number that meets the target, of the kind that `cost` counts."""
        if self.memory is not None:
            return self.memory
        share = self.parameters if self.parameters is not None else self.operations
        return float(share or 0) * self.cost(before, time_steps)

    def cost(self, rows: Sequence[LayerCost], time_steps: int) -> int:
        """Bytes, parameters or operations of a network."""
        if self.memory is not None:
            return memory(rows).total
        if self.parameters is not None:
            return sum(row.parameters for row in rows)
        return operations(rows, time_steps).dense
