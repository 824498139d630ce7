"""Who takes part: our network in its builds, and the peers, each as a worker that can be started."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import bitspike
from _inference.cases import FOLDER, Prepared, write_inputs, write_layers
from _inference.layers import layers_of
from _inference.samples import as_floats
from _shared.environment import BENCHMARKS, PeerMissingError, ensure, run_module
from _shared.worker import Worker

TORCH, ORT_SAME, ORT_ANN = "torch-fp32-eager", "ort-int8-same-T", "ort-int8-ann-T1"
PEERS = (TORCH, ORT_SAME, ORT_ANN)
TORCH_PACKAGES = ("torch==2.13.0", "numpy==2.4.6", "safetensors==0.8.0")
ORT_PACKAGES = ("onnxruntime==1.31.1", "onnx==1.23.2", "numpy==2.4.6")
Say = Callable[[str], None]


class Peers:
    """Starts the peers of a network; remembers which cannot be had and why."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.missing: dict[str, str] = {}
        self._python: dict[str, Path | PeerMissingError] = {}

    def start(self, prepared: Prepared) -> dict[str, Worker]:
        """The workers of one network, by peer; those that cannot be had are noted."""
        started: dict[str, Worker] = {}
        for peer in PEERS:
            try:
                started[peer] = self._torch(prepared) if peer == TORCH else self._ort(prepared, peer)
            except PeerMissingError as error:
                self.missing.setdefault(peer, str(error))
                self.say(f"without {peer}: {error}")
        return started

    def torch_once(self, prepared: Prepared) -> Worker:
        """The torch peer that convolves a static image once."""
        return self._torch(prepared, "--once")

    def _torch(self, prepared: Prepared, *options: str) -> Worker:
        python = self._environment("torch", TORCH_PACKAGES)
        network = prepared.case.network
        inputs = write_inputs(f"{network}-torch", floats(prepared))
        code = (BENCHMARKS / "_inference" / "torch_networks.py").read_bytes()
        weights = FOLDER / f"{network}-{_short(code)}.safetensors"
        arguments = [network, str(inputs), str(weights), *options]
        return Worker(TORCH, python, "_inference.run_torch", arguments)

    def _ort(self, prepared: Prepared, peer: str) -> Worker:
        python = self._environment("onnxruntime", ORT_PACKAGES)
        network = prepared.case.network
        description = write_layers(network, layers_of(prepared.graph))
        code = (BENCHMARKS / "_inference" / "make_onnx.py").read_bytes() + description.read_bytes()
        model = FOLDER / f"{network}-{_short(code)}.onnx"
        if not model.is_file():
            self.say(f"quantizing {network}'s layers to int8 with onnxruntime")
            run_module(python, "_inference.make_onnx", [str(description), str(model)], group=peer)
        inputs = folded(prepared, prepared.case.time_steps if peer == ORT_SAME else 1)
        return Worker(
            peer, python, "_inference.run_onnxruntime", [str(model), str(write_inputs(f"{network}-{peer}", inputs))]
        )

    def _environment(self, group: str, packages: Sequence[str]) -> Path:
        if group not in self._python:
            try:
                self._python[group] = ensure(group, packages, self.say)
            except PeerMissingError as error:
                self._python[group] = error
        found = self._python[group]
        if isinstance(found, PeerMissingError):
            raise found
        return found


def start_ours(prepared: Prepared, *, build: str | None = None, threads: int | None = None) -> Worker:
    """Our network, in the build that the runtime chooses or in a named one; or the engine itself with its threads."""
    inputs = write_inputs(prepared.case.slug, prepared.samples)
    arguments = [str(prepared.path), str(inputs)] + ([] if threads is None else ["--threads", str(threads)])
    # The package that this process runs, which need not be the installed one.
    environment = {"PYTHONPATH": os.pathsep.join((str(BENCHMARKS), str(Path(bitspike.__file__).parents[1])))}
    environment |= {} if build is None else {"BITSPIKE_ENGINE": build}
    name = f"bitspike {prepared.case.name} {build or ''}"
    return Worker(name, Path(sys.executable), "_inference.run_bitspike", arguments, **environment)


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]


def floats(prepared: Prepared) -> NDArray[np.float32]:
    """What float networks read: normalized images, or counts as floats."""
    images = prepared.graph.input.kind == "image"
    return as_floats(prepared.samples) if images else prepared.samples.astype(np.float32)


def folded(prepared: Prepared, steps: int) -> NDArray[np.float32]:
    """[N, steps * B, C, H, W]: the steps in the batch; an image stands there `steps` times."""
    values = floats(prepared)
    if prepared.graph.input.kind == "image":
        return np.repeat(values, steps, axis=1)
    return np.ascontiguousarray(values[:, :steps]).reshape(len(values), -1, *values.shape[3:])
