"""What an import tells: which layers came over, what their neurons are, what was compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitspike.imports.check import Compared
from bitspike.spec import MembraneSpec, nearest_leak, neuron_fields


@dataclass(frozen=True)
class ImportedLayer:
    """One layer of ours: its name, the source's layers in it, its neurons (None: the readout), what was compared."""

    name: str
    sources: tuple[str, ...]
    membrane: MembraneSpec | None
    note: str
    compared: Compared | None

    @property
    def leak_to_round(self) -> bool:
        """Whether integers cannot express the leak, so that quantizing rounds it."""
        return self.membrane is not None and nearest_leak(self.membrane.leak) != self.membrane.leak

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        found: dict[str, Any] = {"name": self.name, "sources": list(self.sources), "note": self.note}
        if self.membrane is not None:
            nearest = nearest_leak(self.membrane.leak)
            found["membrane"] = neuron_fields(self.membrane) | {"leak": float(self.membrane.leak)}
            found["nearest_leak"] = str(nearest)
            found["leak_to_round"] = self.leak_to_round
        if self.compared is not None:
            found |= {
                "spikes_compared": self.compared.decisions,
                "ties": self.compared.ties,
                "firing_rate": self.compared.rate,
            }
        return found


@dataclass(frozen=True)
class ImportReport:
    """What came over and what was left alone.

    origin: torch or nir; ignored: layers that change nothing in use, such as dropout; samples: of the test batch.
    """

    origin: str
    layers: tuple[ImportedLayer, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...]
    samples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json` and for the model file."""
        return {
            "origin": self.origin,
            "layers": [layer.to_dict() for layer in self.layers],
            "ignored": list(self.ignored),
            "notes": list(self.notes),
            "samples": self.samples,
        }
