"""What a pruned network may cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        if self.memory is not None and not 0 < self.memory < math.inf:
            raise ValueError(f"the target memory is {self.memory}; give a positive number of bytes")
        for name in ("parameters", "operations"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"the target {name} is {share}; give a share of what there is, above 0 and at most 1")

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
