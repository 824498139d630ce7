"""A tiny network through all its forms: the integer form must equal the real form in every spike."""

from __future__ import annotations

import importlib.util
from typing import Any


def self_check() -> dict[str, Any]:
    """`passed`: True, False, or None where torch is missing; `detail`: what was compared or went wrong."""
    if importlib.util.find_spec("torch") is None:
        return {"passed": None, "detail": "not run, since torch is missing"}
    try:
        values, differing = _compare()
    except Exception as error:  # whatever is broken is what this check is for
        return {"passed": False, "detail": f"failed with {type(error).__name__}: {' '.join(str(error).split())}"}
    if differing:
        return {"passed": False, "detail": f"{differing} of {values} spikes and logits differ between the forms"}
    return {"passed": True, "detail": f"integer form equals real form in all {values} spikes and logits"}


def _compare() -> tuple[int, int]:
    """How many spikes and logits were compared, and how many differ."""
    import numpy as np
    import torch

    from bitspike.block import SpikingBlock, real_form
    from bitspike.block.base import watching
    from bitspike.cli.opening import lowered
    from bitspike.model import create_model

    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = create_model("small8", spec="1w2u", widths=[4, 8]).train()
        images = torch.randint(0, 256, (8, 1, 8, 8), generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            net(images)  # one training step's statistics, so that batch norm does something
    net.eval()
    spikes: list[torch.Tensor] = []

    def note(block: Any, _operands: Any, result: torch.Tensor) -> None:
        if isinstance(block, SpikingBlock):
            spikes.append(result)

    with torch.no_grad(), real_form(net), watching(note):
        logits = net(images).mean(0).numpy()
    integer_net = lowered(net)
    values = integer_net.spikes(images.numpy())
    compared = differing = 0
    for real, node in zip(spikes, integer_net.graph.spiking, strict=True):
        compared += real.numel()
        differing += int((real.numpy() != values[node.name]).sum())
    unit = integer_net.graph.readout.unit
    wrong = np.abs(logits - integer_net.predict(images.numpy()) * unit) > abs(unit) / 4
    return compared + wrong.size, differing + int(wrong.sum())
