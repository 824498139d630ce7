"""The cases: which network, at which firing rates, on which samples; prepared once and kept under build/."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from _inference import calibrate, networks, samples
from _shared.environment import BENCHMARKS, BUILD, ROOT
from bitspike import lower
from bitspike.integer import run
from bitspike.integer.graph import Graph
from bitspike.runtime import IntegerNet

FOLDER = BUILD / "inference"
PUBLISHED_RATE = 0.24
"""Mean firing rate of the WS-DR-trained ResNet19 of the Q-SNN paper."""
Samples = NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One line of the issue: a network at a rate. rate None: as trained."""

    name: str
    network: str  # "resnet19" | "mnist" | "vggsnn"
    time_steps: int
    rate: float | None

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return self.name.replace(" ", "-").replace("=", "")


CASES = (
    Case("resnet19 T=2 B=1 rate=0.05", "resnet19", 2, 0.05),
    Case("resnet19 T=2 B=1 rate=0.10", "resnet19", 2, 0.10),
    Case("resnet19 T=2 B=1 rate=0.20", "resnet19", 2, 0.20),
    Case("resnet19 T=2 B=1 rate=trained", "resnet19", 2, None),
    Case("mnist T=4 B=1", "mnist", 4, None),
    Case("vggsnn T=10 B=1", "vggsnn", 10, 0.10),
)


@dataclass(frozen=True)
class Prepared:
    """A case with its network file, its samples and what is known of them."""

    case: Case
    graph: Graph
    path: Path  # .bsp
    samples: Samples  # [N, B=1, C, H, W] or [N, T, B=1, C, H, W]
    rates: dict[str, float]  # measured on the samples by the reference, by layer
    note: str  # where weights, rates and samples come from
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The mean over the spiking layers."""
        return sum(self.rates.values()) / len(self.rates)

    @property
    def batch(self) -> Samples:
        """All samples in one batch, as predict takes them."""
        return as_batch(self.samples)

    def row_facts(self) -> dict[str, Any]:
        """What every row of the case says."""
        return {"rate": round(self.rate, 4), "T": self.case.time_steps, "batch": 1, "threads": 1, "note": self.note}


def as_batch(samples: Samples) -> Samples:
    """[N, (T,) B=1, C, H, W] to [(T,) N, C, H, W]."""
    return np.ascontiguousarray(np.concatenate(list(samples), axis=samples.ndim - 5))


def prepare(case: Case, say: Callable[[str], None]) -> Prepared:
    """The case's network and samples: from build/ where they were made by the same code, else made now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = {"resnet19": _resnet19, "mnist": _mnist, "vggsnn": _vggsnn}[case.network]
    return made(case, say)


def _resnet19(case: Case, say: Callable[[str], None]) -> Prepared:
    trained = sorted((ROOT / "models").glob("*resnet19*"))
    if case.rate is None and trained:
        graph, samples_, note = _trained_resnet19(trained[-1])
        return measured(case, graph, samples_, note, trained[-1] if trained[-1].suffix == ".bsp" else None)
    rate = case.rate or PUBLISHED_RATE
    note = f"random weights, every layer calibrated to {rate:g} on random 1/f images"
    if case.rate is None:
        note = f"rates: paper's mean 24 %, no trained network in models/ yet; {note}"
    pixels = samples.images(4, (3, 32, 32))
    return _calibrated(case, "resnet19", pixels, rate, note, say)


def _vggsnn(case: Case, say: Callable[[str], None]) -> Prepared:
    rate = case.rate or PUBLISHED_RATE
    frames = samples.events(2, case.time_steps, (2, 48, 48))
    share = float((frames > 0).mean())
    note = (
        f"random weights, every layer calibrated to {rate:g}; random event frames, {share:.0%} of their pixels hold "
        f"1 to {int(frames.max())} events; sum pooling, exact"
    )
    return _calibrated(case, "vggsnn", frames, rate, note, say)


def _mnist(case: Case, say: Callable[[str], None]) -> Prepared:
    shipped = ROOT / "models" / "qsnn-mnist-1w2u.bsp"
    graph = IntegerNet.load(shipped).graph
    real = _real_images("mnist", 16)
    if real is not None:
        return measured(case, graph, real, f"{shipped.name} on MNIST test images", shipped)
    from bitspike.train import load_model

    pixels = samples.images(16, (1, 28, 28))
    wanted = load_model(shipped.with_suffix(".safetensors"))[1].results["firing_rates"]
    say(f"{case.name}: MNIST is not here, so its rates are set on random images")
    graph, _ = calibrate.calibrated(graph, as_batch(pixels), wanted)
    note = f"{shipped.name}, thresholds moved to its trained rates on random 1/f images (MNIST is not here)"
    return measured(case, graph, pixels, note, None)


def _trained_resnet19(path: Path) -> tuple[Graph, Samples, str]:
    if path.suffix == ".bsp":
        graph = IntegerNet.load(path).graph
    else:
        from bitspike.train import load_model

        graph = lowered(load_model(path)[0])
    real = _real_images("cifar10", 8)
    if real is None:
        pixels = samples.images(8, (3, 32, 32))
        return graph, pixels, f"{path.name} on random 1/f images (CIFAR-10 is not here)"
    return graph, real, f"{path.name} on CIFAR-10 test images"


def _real_images(name: str, count: int) -> Samples | None:
    from bitspike.data import dataset_info, load

    if not dataset_info(name)["present"]:
        return None
    return np.ascontiguousarray(load(name, "test").inputs[:count, None])


def _calibrated(case: Case, model: str, given: Samples, rate: float, note: str, say: Callable[[str], None]) -> Prepared:
    path = FOLDER / f"{case.slug}-{digest_of(SOURCES, [model, repr(rate), given.tobytes()])}.bsp"
    if not path.is_file():
        say(f"{case.name}: setting firing rates (once, kept in {FOLDER.relative_to(ROOT)})")
        batch = as_batch(given)
        graph = lowered(networks.random_net(model, torch.from_numpy(batch), rate))
        graph, _ = calibrate.calibrated(graph, batch, rate)
        for older in FOLDER.glob(f"{case.slug}-*.bsp"):
            older.unlink()
        IntegerNet(graph).save(path)
    graph = IntegerNet.load(path).graph
    return measured(case, graph, given, note, path)


def measured(case: Case, graph: Graph, given: Samples, note: str, path: Path | None) -> Prepared:
    """The case with rates that the reference measures now, on the samples that will be timed."""
    if path is None:
        path = FOLDER / f"{case.slug}.bsp"
        IntegerNet(graph).save(path)
    layers = {node.name for node in graph.spiking}
    rates: dict[str, float] = {}

    def watch(name: str, value: torch.Tensor) -> None:
        if name in layers:
            rates[name] = float(value.double().mean())

    run.advance(graph, run.frames(graph, torch.from_numpy(as_batch(given))), run.State(), watch)
    return Prepared(case, graph, path, given, rates, note)


def lowered(net: torch.nn.Module) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dead zones of slow leaks: not a matter of speed
        return lower(net).graph


SOURCES = (
    *(BENCHMARKS / "_inference" / f"{name}.py" for name in ("calibrate", "networks", "samples")),
    *(ROOT / "src" / "bitspike" / "integer" / f"{name}.py" for name in ("graph", "ops", "run", "weight")),
    *(path for part in ("block", "model", "quant") for path in (ROOT / "src" / "bitspike" / part).glob("*.py")),
)


def digest_of(sources: Iterable[Path], words: Iterable[str | bytes]) -> str:
    """Of everything that a calibrated network depends on."""
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(path.read_bytes())
    for word in words:
        digest.update(word.encode() if isinstance(word, str) else word)
    return digest.hexdigest()[:12]


def write_inputs(name: str, values: NDArray[Any]) -> Path:
    """Samples of a worker, as a file."""
    path = FOLDER / f"{name}.npy"
    np.save(path, values)
    return path


def write_layers(name: str, layers: list[dict[str, Any]]) -> Path:
    """A network's layers for the int8 peer, as a file."""
    path = FOLDER / f"{name}-layers.json"
    path.write_text(json.dumps(layers, indent=1), encoding="utf-8")
    return path
