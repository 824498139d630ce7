"""Worker `bitspike`: our network learns, one thread."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from _shared.serving import own_output, serve
from bitspike.stdp import StdpConfig, StdpNetwork
from bitspike.stdp.state import State


def main() -> None:
    """START.npz --at-once N: encode and learn from N images a call, from the same state each time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("start", type=Path)
    parser.add_argument("--at-once", type=int, default=100)
    given = parser.parse_args()
    pipe = own_output()
    start = np.load(given.start)
    config = StdpConfig.from_dict(json.loads(str(start["setup"])))
    state = State(start["weights"], start["theta"], start["scale"], start["unsettled"], int(start["images_before"]))
    images = start["images"]

    def learn(i: int) -> None:
        network = StdpNetwork(config, state.copy())
        network.learn(images[i * given.at_once : (i + 1) * given.at_once])

    network = StdpNetwork(config)
    serve(pipe, learn, max(1, len(images) // given.at_once), engine=network.engine)


if __name__ == "__main__":
    main()
