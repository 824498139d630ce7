"""Worker `torch-fp32-eager`: plain PyTorch in fp32, eager, one thread."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from _inference.torch_networks import NETWORKS, settle_
from _shared.serving import own_output, serve


def main() -> None:
    """NETWORK INPUTS.npy WEIGHTS.safetensors: time the network on float inputs [N, (T,) B, C, H, W]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("inputs", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--once", action="store_true", help="convolve a static image once instead of T times")
    given = parser.parse_args()
    pipe = own_output()
    torch.set_num_threads(1)
    options = {"repeat_first": False} if given.once else {}
    if not given.weights.is_file():
        torch.manual_seed(0)
        fresh = NETWORKS[given.network](**options)
        settle_(fresh)
        save_file(fresh.state_dict(), given.weights)

    began = time.process_time()
    net = NETWORKS[given.network](**options).eval()
    net.load_state_dict(load_file(given.weights))
    load_ms = (time.process_time() - began) * 1e3

    inputs = [torch.from_numpy(sample) for sample in np.load(given.inputs)]
    spikes: list[float] = []
    hooks = [
        module.register_forward_hook(lambda _module, _operands, result: spikes.append(float(result.mean())))
        for module in net.modules()
        if type(module).__name__ == "SpikingConv"
    ]
    with torch.inference_mode():
        net(inputs[0])
        for hook in hooks:
            hook.remove()
        serve(
            pipe,
            lambda i: net(inputs[i]),
            len(inputs),
            version=torch.__version__,
            load_ms=load_ms,
            file_bytes=given.weights.stat().st_size,
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            firing_rate=sum(spikes) / len(spikes) if spikes else None,
        )


if __name__ == "__main__":
    main()
