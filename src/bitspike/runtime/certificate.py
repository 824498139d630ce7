"""The certificate of a network: what was compared, on what, with which result. Plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bitspike.integer.graph import Graph
from bitspike.runtime.state import fingerprint
from bitspike.wording import amount, columns

VERSION = 1


@dataclass(frozen=True)
class Comparison:
    """Runs of one kind, and how many numbers each of them was compared in; none of them differed.

    runner    "engine avx512", "compiled C", "reference", ...
    kernels   the engine's kernels, each of which was compared in so many numbers; empty for other runners
    order     "layers" (all steps of a layer at once) or "steps" (one step of all layers at a time)
    """

    runner: str
    kernels: tuple[str, ...]
    order: str
    spikes: int
    membranes: int
    logits: int


@dataclass(frozen=True)
class Certificate:
    """Says that all runs that were compared are equal in every number.

    samples    how many samples were run
    data       name, split, number of samples and fingerprint of the data set they are from; None for arrays
    sha256     of "network" (all integers that are computed with), "samples", "logits" and "spikes" (of the reference)
    missing    what could not be compared, and why
    versions, machine, date   of the comparison
    """

    samples: int
    data: Mapping[str, Any] | None
    sha256: Mapping[str, str]
    compared: tuple[Comparison, ...]
    missing: tuple[str, ...]
    versions: Mapping[str, str]
    machine: str
    date: str
    differences: int = field(default=0, init=False)  # with any there is no certificate

    COLUMNS: ClassVar = ("compared with the reference", "kernels", "order", "spikes", "membranes", "logits")
    LEFT: ClassVar = (0, 1, 2)

    def __str__(self) -> str:
        missing = [f"not compared: {each}" for each in self.missing]
        return "\n".join([columns(self.COLUMNS, self.lines(), left=self.LEFT), *missing, self.verdict()])

    def lines(self) -> list[tuple[str, ...]]:
        """One a kind of run, under `COLUMNS`."""
        return [
            (
                each.runner,
                ", ".join(each.kernels),
                {"layers": "layer by layer", "steps": "step by step"}[each.order],
                amount(each.spikes),
                amount(each.membranes),
                amount(each.logits),
            )
            for each in self.compared
        ]

    def verdict(self) -> str:
        """What it says, in a sentence."""
        source = f" of {self.data.get('name')} {self.data.get('split')}" if self.data else ""
        return f"certified: {self.samples:,} samples{source}, no difference in any number"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, as it stands in the header of a file."""
        return {
            "version": VERSION,
            "samples": self.samples,
            "data": None if self.data is None else dict(self.data),
            "sha256": dict(self.sha256),
            "compared": [{**vars(each), "kernels": list(each.kernels)} for each in self.compared],
            "differences": self.differences,
            "missing": list(self.missing),
            "versions": dict(self.versions),
            "machine": self.machine,
            "date": self.date,
        }


def fits(graph: Graph, certificate: Mapping[str, Any]) -> bool:
    """Whether a certificate, from whomever, is about the integers of this network."""
    hashes = certificate.get("sha256")
    return isinstance(hashes, Mapping) and hashes.get("network") == fingerprint(graph)


def certificate_in_words(graph: Graph, certificate: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the certificate of a file holds for its network, and a line that says so.

    A file says what its writer wanted: only what has the form of a certificate is repeated.
    """
    if not fits(graph, certificate):
        return False, "its certificate is of another network; certify this one (bitspike certify)"
    count, data, date = certificate.get("samples"), certificate.get("data"), certificate.get("date")
    if type(count) is not int or not 0 < count < 10**12 or not _is_word(date):
        return False, "its certificate cannot be read; certify it again (bitspike certify)"
    name, split = (data.get("name"), data.get("split")) if isinstance(data, Mapping) else (None, None)
    source = f" of {name} {split}" if _is_word(name) and _is_word(split) else ""
    return True, f"certified on {count:,} samples{source}, {str(date)[:10]}"


def _is_word(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable() and 0 < len(text) <= 100
