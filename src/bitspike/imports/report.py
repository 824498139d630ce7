"""What an import tells: which layers came over, what their neurons are, what was compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bitspike.imports.check import Compared
from bitspike.spec import MembraneSpec, nearest_leak, neuron_fields
from bitspike.wording import columns


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

    def neurons_in_words(self) -> tuple[str, str, str, str, str]:
        """Leak, threshold, reset, firing rate, and what to know."""
        spec = self.membrane
        if spec is None:
            return "", "", "", "", self.note
        rounded = f"integers round the leak to {nearest_leak(spec.leak)}" if self.leak_to_round else ""
        return (
            f"{float(spec.leak):.4g}",
            f"{'>' if spec.strict else '>='} {spec.threshold:.4g}",
            "hard" if spec.reset == "hard" else f"-{spec.subtracted:.4g}",
            "" if self.compared is None else f"{self.compared.rate:.3f}",
            "; ".join(part for part in (rounded, self.note) if part),
        )

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

    COLUMNS: ClassVar = ("layer", "made of", "leak", "fires", "reset", "rate", "")
    LEFT: ClassVar = (0, 1, 6)

    def __str__(self) -> str:
        left_out = [f"{name} changes nothing in use and was left out" for name in self.ignored]
        return "\n".join([columns(self.COLUMNS, self.lines(), left=self.LEFT), self.totals(), *left_out, *self.notes])

    def lines(self) -> list[tuple[str, ...]]:
        """One a layer, under `COLUMNS`."""
        return [(layer.name, " ".join(layer.sources), *layer.neurons_in_words()) for layer in self.layers]

    def totals(self) -> str:
        """How much was compared with the source."""
        compared = [layer.compared for layer in self.layers if layer.compared is not None]
        equal, ties = sum(each.decisions for each in compared), sum(each.ties for each in compared)
        return f"{equal:,} spikes compared on {self.samples} samples, all equal; {ties} too near to compare"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json` and for the model file."""
        return {
            "origin": self.origin,
            "layers": [layer.to_dict() for layer in self.layers],
            "ignored": list(self.ignored),
            "notes": list(self.notes),
            "samples": self.samples,
        }
