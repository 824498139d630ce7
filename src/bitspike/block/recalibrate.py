"""`recalibrate_`: estimate the running statistics of a network's batch norms anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from bitspike.block.base import in_mode
from bitspike.block.norm import ChannelNorm


@torch.no_grad()
def recalibrate_(net: nn.Module, batches: Iterable[Tensor]) -> int:
    """Replace all running statistics by their mean over the given batches; the number of batches used.

    Needed when weights are put on a grid after training: the sums then have another spread. Membranes are
    quantized with steps that follow the statistics, so later batches count the more settled steps. Where a batch cannot
    be run, the statistics stay as they were.
    """
    norms = [module for module in net.modules() if isinstance(module, ChannelNorm)]
    before = [norm.momentum for norm in norms]
    statistics = [(value, value.clone()) for norm in norms for value in norm.buffers()]
    used = 0
    try:
        with in_mode(net, training=True):
            for batch in batches:
                samples = torch.as_tensor(batch)  # of numpy too
                if not samples.numel():
                    raise ValueError(f"recalibrate_: batch {used} holds no samples; leave it out")
                used += 1
                for norm in norms:
                    norm.momentum = 1 / used  # a cumulative mean
                net(samples)
    except BaseException:
        for value, kept in statistics:
            value.copy_(kept)
        raise
    finally:
        for norm, momentum in zip(norms, before, strict=True):
            norm.momentum = momentum
    if used == 0:
        raise ValueError("recalibrate_: no batches were given")
    return used
