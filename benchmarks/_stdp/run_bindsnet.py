"""Worker `bindsnet-B1` and `bindsnet-B32`: DiehlAndCook2015 of BindsNET learns, one thread."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from _shared.serving import own_output, serve
from _stdp.bindsnet_network import VERSION, import_bindsnet, make_network


def main() -> None:
    """START.npz --batch B: encode and learn from B images a call."""
    parser = argparse.ArgumentParser()
    parser.add_argument("start", type=Path)
    parser.add_argument("--batch", type=int, default=1)
    given = parser.parse_args()
    pipe = own_output()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    import_bindsnet()
    from bindsnet.encoding import PoissonEncoder

    start = np.load(given.start)
    setup = json.loads(str(start["setup"]))
    network = make_network(setup, start["weights"], start["theta"], given.batch, torch.float32)
    encode = PoissonEncoder(time=setup["steps"] * setup["dt"], dt=setup["dt"])
    images = torch.from_numpy(start["images"]).float() * (setup["intensity"] / 255)
    calls = max(1, min(4, len(images) // given.batch))

    def learn(i: int) -> None:
        chosen = images[i * given.batch : (i + 1) * given.batch]
        trains = torch.stack([encode(image) for image in chosen], dim=1)  # [T, B, inputs]
        network.run(inputs={"X": trains}, time=setup["steps"] * setup["dt"])
        network.reset_state_variables()

    serve(pipe, learn, calls, version=VERSION, torch=torch.__version__)


if __name__ == "__main__":
    main()
