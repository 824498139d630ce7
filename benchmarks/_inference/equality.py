"""That what was timed is the network of the definition: engine against reference, every spike and every logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from _inference.cases import Prepared
from bitspike.integer import run


def engine_builds() -> tuple[str, ...]:
    """Instruction-set builds of the engine that run here, best first; none without an engine."""
    try:
        from bitspike.engine import builds
    except ImportError:
        return ()
    return tuple(builds())


def compare(prepared: Prepared) -> list[dict[str, Any]]:
    """One table per build: how many spikes and logits differ from the reference's on the timed samples."""
    samples = prepared.batch
    expected: dict[str, NDArray[np.int32]] = {}
    graph = prepared.graph
    layers = [node.name for node in graph.spiking]

    def watch(name: str, value: torch.Tensor) -> None:
        if name in layers:
            expected[name] = value.numpy().astype(np.int32)

    logits = run.advance(graph, run.frames(graph, torch.from_numpy(samples)), run.State(), watch).numpy()
    compared = []
    for build in engine_builds():
        from bitspike.engine import Engine

        recorded = Engine(graph, build=build).run(samples, membranes=False)
        compared.append(
            {
                "case": prepared.case.name,
                "build": build,
                "samples": samples.shape[-4],
                **differences(expected, recorded.values),
                "logits": int(logits.size),
                "differing_logits": int((np.asarray(recorded.logits) != logits).sum()),
            }
        )
    return compared


def differences(
    expected: Mapping[str, NDArray[np.integer[Any]]], found: Mapping[str, NDArray[np.integer[Any]]]
) -> dict[str, int]:
    """Spikes compared, and those that differ; a layer that was not recorded is an error."""
    missing = sorted(set(expected) - set(found))
    if missing:
        raise ValueError(f"no spikes were recorded of {', '.join(missing)}")
    differing = 0
    for name, spikes in expected.items():
        other = np.asarray(found[name])
        if other.shape != spikes.shape:
            raise ValueError(f"spikes of {name} have shape {list(other.shape)}; the reference's {list(spikes.shape)}")
        differing += int((other != spikes).sum())
    return {"spikes": sum(spikes.size for spikes in expected.values()), "differing_spikes": differing}
