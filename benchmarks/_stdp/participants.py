"""Who takes part in benchmarks/stdp.py, and the state that all of them start from."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import bitspike
from _shared.environment import BENCHMARKS, BUILD, ensure
from _shared.worker import Worker
from bitspike.stdp import StdpConfig, StdpNetwork

PACKAGES = ("torch==2.13.0", "numpy==2.4.6")
ALONE = ("bindsnet==0.3.4",)
PEERS = {"bindsnet-B1": 1, "bindsnet-B32": 32}
"""Images that BindsNET learns from at once."""
AT_ONCE = 100
BEFORE = 3000


def write_start(config: StdpConfig, images: Any) -> Path:
    """The state after some images, when thresholds have begun to part the neurons, and images to go on with."""
    network = StdpNetwork(config)
    network.learn(images[:BEFORE])
    state = network.state
    BUILD.mkdir(parents=True, exist_ok=True)
    path = BUILD / f"stdp-{config.neurons}-{'float' if config.bits is None else config.bits.weight}.npz"
    np.savez(
        path,
        setup=json.dumps(config.to_dict()),
        weights=state.weights,
        theta=state.theta,
        scale=state.scale,
        unsettled=state.unsettled,
        images_before=state.images,
        images=images[BEFORE : BEFORE + 4 * AT_ONCE],
    )
    return path


def start_ours(start: Path) -> Worker:
    """Our network; a call learns from AT_ONCE images."""
    source = Path(bitspike.__file__).parents[1]  # the package that this process runs
    environment = {"PYTHONPATH": os.pathsep.join((str(BENCHMARKS), str(source)))}
    arguments = [str(start), "--at-once", str(AT_ONCE)]
    return Worker("bitspike", Path(sys.executable), "_stdp.run_bitspike", arguments, **environment)


def start_peer(peer: str, start: Path, say: Callable[[str], None]) -> Worker:
    """BindsNET; a call learns from as many images as it takes at once."""
    python = ensure("bindsnet", PACKAGES, say, ALONE)
    return Worker(peer, python, "_stdp.run_bindsnet", [str(start), "--batch", str(PEERS[peer])])
