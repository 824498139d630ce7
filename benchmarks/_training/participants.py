"""Who takes part: our network at its bits, and the peers, each as a worker that can be started."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from _shared.environment import PeerMissingError, ensure
from _shared.worker import Worker
from _training.cases import Case

Say = Callable[[str], None]
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 << 20)}
"""glibc keeps freed memory for reuse: what `bitspike.allocation` asks for while it trains."""


@dataclass(frozen=True)
class Version:
    """Our network: at which bits; plain: on torch's own operations, as where the engine is not built."""

    name: str
    spec: str
    plain: bool = False


FLOAT = Version("bitspike-32w32u", "32w32u")
"""As the peers have it, who do not quantize."""
QUANTIZED = Version("bitspike-1w2u", "1w2u")
PLAIN = Version("bitspike-32w32u-plain", "32w32u", plain=True)


def versions() -> tuple[Version, ...]:
    """Those that can be told apart here: without the engine, all are plain."""
    from bitspike.block.native import available

    return (FLOAT, QUANTIZED, PLAIN) if available() else (FLOAT, QUANTIZED)


@dataclass(frozen=True)
class Library:
    """A peer's package and what it needs; alone: without what it asks for, which would bring torchvision."""

    module: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()


SPIKINGJELLY = Library(
    "_training.run_spikingjelly", ("torch==2.13.0", "numpy==2.4.6", "loguru==0.7.3"), ("spikingjelly==2.0.0",)
)
SNNTORCH = Library("_training.run_snntorch", ("torch==2.13.0", "numpy==2.4.6", "snntorch==1.0.0"))


@dataclass(frozen=True)
class Peer:
    """A library and how it is used. tuned: channels last, and the processor's own precision."""

    name: str
    library: Library
    headline: bool = True
    tuned: bool = False
    kept_memory: bool = False

    def precision(self, native: str) -> str:
        """What it trains in where the processor's own precision is `native`."""
        return native if self.tuned else "float32"


PEERS = (
    Peer("spikingjelly-as-written", SPIKINGJELLY),
    Peer("spikingjelly-tuned", SPIKINGJELLY, tuned=True),
    Peer("snntorch", SNNTORCH),
)
STRICTER = Peer("spikingjelly-tuned-kept-memory", SPIKINGJELLY, headline=False, tuned=True, kept_memory=True)
"""With the allocator's settings of our loop too, which nobody's spikingjelly has."""


class Peers:
    """Starts peers; remembers which cannot be had and why."""

    def __init__(self, precision: str, say: Say) -> None:
        self.precision, self.say = precision, say
        self.missing: dict[str, str] = {}
        self._python: dict[str, Path | PeerMissingError] = {}
        self._installing = Lock()

    def start(self, peer: Peer, case: Case, batches: Path) -> Worker | None:
        """The worker of a peer on a case; None, noted, where it cannot be had."""
        precision = peer.precision(self.precision)
        arguments = [case.network, str(batches), "--steps", str(case.time_steps), "--precision", precision]
        environment = KEPT_MEMORY if peer.kept_memory else {}
        try:
            python = self._environment(peer.library)
            tuning = ["--channels-last"] if peer.tuned else []
            return Worker(peer.name, python, peer.library.module, [*arguments, *tuning], **environment)
        except PeerMissingError as error:
            self.missing.setdefault(peer.name, f"{case.name}: {error}")
            self.say(f"without {peer.name}: {error}")
            return None

    def _environment(self, library: Library) -> Path:
        group = library.module.rpartition("_")[2]
        with self._installing:
            if group not in self._python:
                try:
                    self._python[group] = ensure(group, library.packages, self.say, alone=library.alone)
                except PeerMissingError as error:
                    self._python[group] = error
            found = self._python[group]
        if isinstance(found, PeerMissingError):
            raise found
        return found


def start_ours(version: Version, case: Case, batches: Path, precision: str) -> Worker:
    """A version of our network on a case."""
    options = json.dumps(case.options | {"time_steps": case.time_steps})
    arguments = [case.model, options, str(batches), "--spec", version.spec, "--precision", precision]
    plain = ["--plain"] if version.plain else []
    return Worker(version.name, Path(sys.executable), "_training.run_bitspike", [*arguments, *plain])


def start_together(starts: Mapping[str, Callable[[], Worker | None]]) -> dict[str, Worker]:
    """Workers that could be started, one a core at a time: nothing is timed yet, and memory knows no haste."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        started = {name: pool.submit(start) for name, start in starts.items()}
    workers = {name: future.result() for name, future in started.items()}
    return {name: worker for name, worker in workers.items() if worker is not None}
