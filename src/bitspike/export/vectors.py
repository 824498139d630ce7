"""Samples with what the reference computes for them, for the self-test of the exported C."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bitspike.export.layout import Layer, Plan
from bitspike.export.source import literals, wrapped
from bitspike.export.weights import to_words
from bitspike.integer.graph import Graph

_START, _FACTOR, _WORD = 2166136261, 16777619, 0xFFFFFFFF
_STEPS_OF_A_STREAM = 4


class Network(Protocol):
    """What gives the expected values: an IntegerNet."""

    @property
    def graph(self) -> Graph:
        """The network as plain data."""
        ...

    def predict(self, samples: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Integer logits [B, K]."""
        ...

    def spikes(self, samples: NDArray[np.uint8]) -> dict[str, NDArray[np.int32]]:
        """The values [T, B, ...] of every node."""
        ...


@dataclass(frozen=True)
class Vectors:
    """frames uint8 [samples, frames, C, H, W]; per sample and layer: spikes of all steps and their hash; logits."""

    frames: NDArray[np.uint8]
    time_steps: int
    layers: tuple[str, ...]
    spikes: NDArray[np.int64]
    hashes: NDArray[np.int64]
    logits: NDArray[np.int64]


def random_samples(graph: Graph, count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Samples that are the same on every machine: images [B, C, H, W] or event counts [T, B, C, H, W]."""
    numbers = np.random.default_rng(seed)
    entry = graph.input
    if entry.kind == "image":
        return numbers.integers(0, 256, (count, *entry.shape)).astype(np.uint8)
    # Mostly nothing happens, as in recordings.
    shape = (entry.time_steps or _STEPS_OF_A_STREAM, count, *entry.shape)
    counts = numbers.integers(1, entry.bound + 1, shape) * (numbers.random(shape) < 0.2)
    return counts.astype(np.uint8)


def make_vectors(net: Network, samples: NDArray[np.uint8]) -> Vectors:
    """Run samples through the network."""
    entry = net.graph.input
    values = net.spikes(samples)
    names = tuple(node.name for node in net.graph.spiking)
    count = samples.shape[0 if entry.kind == "image" else 1]
    spikes = np.array([[int(values[name][:, i].sum()) for name in names] for i in range(count)])
    hashes = np.array([[spike_hash(values[name][:, i]) for name in names] for i in range(count)])
    frames = samples[:, None] if entry.kind == "image" else np.moveaxis(samples, 1, 0)
    steps = next(iter(values.values())).shape[0]
    return Vectors(np.ascontiguousarray(frames), steps, names, spikes, hashes, net.predict(samples))


def spike_hash(spikes: NDArray[np.int32]) -> int:
    """FNV-1a over 32-bit words of spikes [T, C, ...]: step by step in the order row, column, channel, the first spike
    in the lowest bit of the first word, each step's last word filled with zeros.
    """
    found = _START
    for step in spikes:
        words: Iterable[int] = to_words(np.moveaxis(step, 0, -1).reshape(-1).astype(np.uint8)).tolist()
        for word in words:
            found = ((found ^ word) * _FACTOR) & _WORD
    return found


def vectors_source(plan: Plan, name: str, vectors: Vectors) -> str:
    """NAME_selftest.c: the vectors as constant data, and main."""
    upper = name.upper()
    nodes = [number for number, step in enumerate(plan.steps) if isinstance(step.what, Layer)]
    layers = len(nodes)
    names = ", ".join(f'"{re.sub(r"[^A-Za-z0-9_.#-]", "_", layer)}"' for layer in vectors.layers)
    count, frames = vectors.frames.shape[:2]
    lines = [
        f"/* Samples for {name} with what the reference computed for them. Written by bitspike; do not edit. */",
        f'#include "{name}.h"',
        '#include "selftest.h"',
        "",
    ]
    if layers:
        lines += [f"static const char *const names[{layers}] = {{{names}}};", ""]
        lines += [f"static uint32_t counted[{layers}], hashed[{layers}];", ""]
        lines += _array("uint32_t", "nodes", nodes)
        lines += _array("uint32_t", "spikes", vectors.spikes.reshape(-1))
        lines += _array("uint32_t", "hashes", vectors.hashes.reshape(-1))
    lines += _array("uint8_t", "frames", vectors.frames.reshape(-1))
    lines += _array("int32_t", "answers", vectors.logits.reshape(-1))
    fields = {
        "net": f"&{name}_net",
        "init": f"{name}_init",
        "step": f"{name}_step",
        "logits": f"{name}_logits",
        "argmax": f"{name}_argmax",
        "samples": f"{count}u",
        "time_steps": f"{vectors.time_steps}u",
        "frame_bytes": f"{upper}_FRAME_BYTES",
        "frames_per_sample": f"{frames}u",
        "frames": "frames",
        "layers": f"{layers}u",
        "answers": "answers",
    }
    if layers:
        fields |= {key: key for key in ("names", "nodes", "spikes", "hashes", "counted", "hashed")}
    lines += ["static const bitspike_vectors vectors = {", *(f"    .{key} = {value}," for key, value in fields.items())]
    lines += ["};", "", "int main(void)", "{", "    return bitspike_selftest(&vectors) == 0 ? 0 : 1;", "}", ""]
    return "\n".join(lines)


def _array(kind: str, name: str, values: Iterable[int]) -> list[str]:
    given = [int(value) for value in values]
    return [f"static const {kind} {name}[{len(given)}] = {{", *wrapped(literals(kind, given)), "};", ""]
