"""One case after its measurements: who took part, and the rows that come of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from _shared.rows import timing_row, value_row
from _shared.timing import Series
from _shared.worker import Worker
from _training.cases import Case
from _training.memory import memory_entry
from _training.participants import FLOAT, PLAIN, QUANTIZED, Peer, Version

Row = dict[str, Any]


@dataclass
class Contest:
    """Workers and times of a case, by participant; precision: the processor's own, in which ours trains."""

    case: Case
    precision: str
    workers: dict[str, Worker] = field(default_factory=dict)
    peers: dict[str, Peer] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)

    def rows(self) -> list[Row]:
        """Times and memory against the peers; what quantizers cost; what fused operations bring."""
        rows = [self._time(self.case.name, FLOAT, name, headline=peer.headline) for name, peer in self.peers.items()]
        rows.append(self._time(f"{self.case.name} {QUANTIZED.spec}", QUANTIZED, FLOAT.name))
        rivals = [name for name, peer in self.peers.items() if peer.headline]
        if PLAIN.name in self.workers:
            rows.append(self._time(self.case.name, FLOAT, PLAIN.name))
            rivals.append(PLAIN.name)
        for what in ("saved", "resident"):
            rows += self._memory(what, rivals)
        return rows

    def memory(self) -> list[dict[str, Any]]:
        """Entries of the memory table at the case's own T."""
        names = [FLOAT.name, *(name for name, peer in self.peers.items() if peer.headline)]
        return [memory_entry(self.case, name, self.workers[name]) for name in names]

    def _time(self, case: str, version: Version, peer: str, *, headline: bool = False) -> Row:
        facts = self._facts(version, peer) | {"clock": "cpu"}
        return timing_row(case, peer, self.series[version.name], self.series[peer], headline=headline, **facts)

    def _memory(self, what: str, rivals: list[str]) -> Iterator[Row]:
        """Saved activations, or growth of the resident size where the system tells it."""
        for name in rivals:
            mine, theirs = self.workers[FLOAT.name].info[what], self.workers[name].info[what]
            if mine is not None and theirs is not None:
                facts = self._facts(FLOAT, name)
                yield value_row(
                    f"{self.case.name} {what}", name, mine, theirs, "bytes", runs=1, headline=False, **facts
                )

    def _facts(self, version: Version, peer: str) -> dict[str, Any]:
        """What a row says of both sides; rates: the layers' mean firing rate after the first steps."""
        known = self.peers.get(peer)
        return {
            "spec": version.spec,
            "T": self.case.time_steps,
            "batch": self.case.batch,
            "threads": 1,
            "precision": self.precision,
            "peer_precision": self.precision if known is None else known.precision(self.precision),
            "rate": round(self.workers[version.name].info["rate"], 4),
            "peer_rate": round(self.workers[peer].info["rate"], 4),
        }
