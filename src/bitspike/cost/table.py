"""A network's rows and everything computed from them, as one object to print, store or compare.

What is left out of each number is said in `memory`, `operations` and `energy`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from bitspike.cost.energy import Energy, energy
from bitspike.cost.memory import Memory, as_float, layer_memory, memory
from bitspike.cost.operations import Operations, operations
from bitspike.cost.rows import LayerCost
from bitspike.cost.text import as_text


@dataclass(frozen=True)
class CostTable:
    """The layers of one network and their totals; `print` shows both.

    time_steps: of one image; None where the network takes any number, and operations and energy are those of one step.
    """

    name: str
    rows: tuple[LayerCost, ...]
    time_steps: int | None
    batch: int = 1

    def __str__(self) -> str:
        return as_text(self)

    @property
    def parameters(self) -> int:
        """Trained parameters of the network."""
        return sum(row.parameters for row in self.rows)

    @cached_property
    def memory(self) -> Memory:
        """Bytes as shipped, both conventions."""
        return memory(self.rows, batch=self.batch)

    @cached_property
    def float_memory(self) -> Memory:
        """Bytes of the same network in 32-bit floats."""
        return memory(as_float(self.rows), batch=self.batch)

    @property
    def _steps(self) -> int:
        return 1 if self.time_steps is None else self.time_steps

    @cached_property
    def operations(self) -> Operations:
        """Operations of one image."""
        return operations(self.rows, self._steps)

    @cached_property
    def energy(self) -> Energy | None:
        """Energy of one image, or None where firing rates were not measured."""
        return None if self.operations.synaptic is None else energy(self.rows, self._steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: one entry a layer (row, bytes, operations), and the totals."""
        layers = []
        for row, counted in zip(self.rows, self.operations.layers, strict=True):
            held = layer_memory(row, batch=self.batch)
            held_bytes = {name: size for name, size in asdict(held).items() if name != "name"}
            counts = {name: count for name, count in asdict(counted).items() if name != "name"}
            layers.append(row.to_dict() | {"memory": held_bytes, "operations": counts})
        totals = self.operations.to_dict()
        del totals["layers"]  # they stand with their rows already
        return {
            "name": self.name,
            "time_steps": self.time_steps,
            "batch": self.batch,
            "layers": layers,
            "totals": {
                "parameters": self.parameters,
                "memory": self.memory.to_dict(),
                "float_memory": self.float_memory.to_dict(),
                "operations": totals,
                "energy": None if self.energy is None else self.energy.to_dict(),
            },
        }
