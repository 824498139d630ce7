"""`certify`: all that can run a network here, against the reference, in every spike, membrane and logit."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Graph
from bitspike.integer.shapes import shapes
from bitspike.runtime.certificate import Certificate, Comparison
from bitspike.runtime.difference import Difference, DifferenceFound, Watched, first_difference
from bitspike.runtime.evaluation import check_samples
from bitspike.runtime.machine import processor, versions
from bitspike.runtime.participants import LAYERS, Participant, Party, by_layers, by_steps, gather
from bitspike.runtime.runner import REFERENCE, make_runner
from bitspike.runtime.samples import checked
from bitspike.runtime.state import fingerprint

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.runtime.net import IntegerNet

_MEMORY = 256 << 20  # for what is recorded at a time
_LARGEST_BATCH = 64


def certify(
    net: IntegerNet,
    samples: Dataset | NDArray[np.uint8],
    *,
    count: int | None = None,
    builds: Sequence[str] | None = None,
    kernels: Sequence[str] | None = None,
    compiled: bool = True,
    batch: int | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Certificate:
    """Compare the engine and the compiled C export with the reference, number by number.

    samples: a data set, or uint8 images [B, C, H, W] or event counts [T, B, C, H, W].
    count: so many of them, spread evenly; None: all.
    builds, kernels: of the engine; None: all that run here. compiled: whether to compile the C export.
    batch: samples at once (by default as memory suggests); changes nothing in the certificate.
    advance: called with the number of samples done, after every batch.

    DifferenceFound, with the place of the first one, where two numbers differ; ModuleNotFoundError without torch,
    which the reference needs; RuntimeError where there is nothing to compare it with.
    """
    graph = net.graph
    inputs, data = _inputs(graph, samples)
    places = spread(len(inputs), count)
    reference = _reference(graph)
    party = gather(graph, builds, kernels, compiled=compiled)
    if not party.participants:
        raise RuntimeError(f"there is nothing to compare the reference with ({'; '.join(party.missing)})")
    layers = Participant(REFERENCE, LAYERS, lambda batch: by_layers(reference, batch, membranes=False))
    runs = [layers, *party.participants]
    size = _batch(graph, inputs) if batch is None else batch
    if size < 1:
        raise ValueError(f"batch is {size}; it must be 1 or more")
    tally = _Tally()
    for first in range(0, len(places), size):
        chosen = places[first : first + size]
        part = np.ascontiguousarray(inputs[chosen])
        entering = checked(graph, np.moveaxis(part, 1, 0) if graph.input.kind == "events" else part)
        expected = by_steps(reference, entering)
        tally.samples.update(part)
        tally.note(graph, expected)
        for run in runs:
            found = run.run(entering)
            _refuse_difference(graph, run, expected, found, chosen)
            tally.count(graph, run, found)
        advance(len(chosen))
    return _certificate(graph, len(places), data, tally, party)


def spread(total: int, count: int | None) -> NDArray[np.int64]:
    """Places of that many samples among all, evenly spread, since files are often sorted by class."""
    if total == 0:
        raise ValueError("there are no samples; give at least one")
    if count is not None and count < 1:
        raise ValueError(f"count is {count}; give 1 or more, or None for all samples")
    wanted = total if count is None else min(count, total)
    return np.unique(np.linspace(0, total - 1, wanted).round().astype(np.int64))


@dataclass
class _Tally:
    """Numbers compared so far, by run, and hashes of what the reference read and gave.

    All is hashed sample by sample, so that the size of batches leaves no trace.
    """

    counts: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    samples: Any = field(default_factory=hashlib.sha256)
    logits: Any = field(default_factory=hashlib.sha256)
    spikes: Any = field(default_factory=hashlib.sha256)

    def note(self, graph: Graph, expected: Watched) -> None:
        last = expected.logits[0][-1]
        self.logits.update(np.ascontiguousarray(last.astype("<i8")))
        for sample in range(len(last)):
            for node in graph.spiking:
                packed = np.packbits(expected.values[node.name][:, sample].reshape(-1) != 0, bitorder="little")
                self.spikes.update(packed)

    def count(self, graph: Graph, run: Participant, found: Watched) -> None:
        counted = self.counts.setdefault((run.runner, run.order, run.kernel), [0, 0, 0])
        counted[0] += sum(found.values[node.name].size for node in graph.spiking)
        counted[1] += sum(values.size for values in found.membranes.values())
        counted[2] += sum(logits.size for logits in found.logits)


def _inputs(graph: Graph, samples: Dataset | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], dict[str, Any] | None]:
    """Samples with the sample first, [N, C, H, W] or [N, T, C, H, W], and which data set they are from."""
    from bitspike.data import Dataset

    entry = graph.input
    if isinstance(samples, Dataset):
        check_samples(samples, "images" if entry.kind == "image" else "events", entry.shape, entry.time_steps)
        whole = {"name": samples.name, "split": samples.split, "samples": len(samples)}
        return samples.inputs, {**whole, "fingerprint": samples.fingerprint}
    array = checked(graph, samples)
    return np.moveaxis(array, 1, 0) if entry.kind == "events" else array, None


def _reference(graph: Graph) -> Any:
    try:
        return make_runner(graph, REFERENCE)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            "certify compares with the reference, which needs torch: pip install 'bitspike[train]'", name="torch"
        ) from None


def _batch(graph: Graph, inputs: NDArray[np.uint8]) -> int:
    """As many samples as leave what is recorded within a modest memory."""
    steps = inputs.shape[1] if graph.input.kind == "events" else graph.input.time_steps or 1
    sizes = shapes(graph)
    numbers = sum(math.prod(shape) for shape in sizes.values())
    numbers += sum(math.prod(sizes[node.name]) for node in graph.spiking)
    # 4 bytes each; twice while steps are put together; of the reference and of one more.
    return max(1, min(_LARGEST_BATCH, _MEMORY // (16 * steps * numbers)))


def _refuse_difference(
    graph: Graph, run: Participant, expected: Watched, found: Watched, places: NDArray[np.int64]
) -> None:
    try:
        place = first_difference(graph, expected, found)
    except RuntimeError as error:
        raise RuntimeError(f"{run.runner} {run.kernel}, in the order of {run.order}: {error}") from None
    if place is None:
        return
    step, sample, *neuron = place.index
    raise DifferenceFound(
        Difference(
            runner=run.runner,
            kernel=run.kernel,
            order=run.order,
            what=place.what,
            layer=place.layer,
            step=step,
            sample=int(places[sample]),
            neuron=tuple(neuron),
            expected=place.expected,
            found=place.found,
        )
    )


def _certificate(graph: Graph, count: int, data: Mapping[str, Any] | None, tally: _Tally, party: Party) -> Certificate:
    kernels: dict[tuple[str, str, tuple[int, ...]], list[str]] = {}
    for (runner, order, kernel), counted in tally.counts.items():
        kernels.setdefault((runner, order, tuple(counted)), []).extend([kernel] if kernel else [])
    hashes = {"samples": tally.samples, "logits": tally.logits, "spikes": tally.spikes}
    return Certificate(
        samples=count,
        data=data,
        sha256={"network": fingerprint(graph), **{name: found.hexdigest() for name, found in hashes.items()}},
        compared=tuple(
            Comparison(runner, tuple(names), order, *counted) for (runner, order, counted), names in kernels.items()
        ),
        missing=tuple(party.missing),
        versions=versions(party.compiler),
        machine=processor(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
