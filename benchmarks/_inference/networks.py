"""Registered networks with random weights and the batch-norm statistics that training would have left in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import SpikingBlock
from bitspike.block.base import in_mode
from bitspike.block.norm import ChannelNorm
from bitspike.model import create_model

GAMMA, GAMMA_SPREAD, GAMMA_LEAST = 0.95, 0.2, 0.3
BETA_SPREAD = 0.15
SEARCHES = 12
NEAR = 0.03
"""Relative distance from a rate at which its search ends; `calibrate` does the rest on the integers."""
FARTHEST = 8.0


def random_net(
    name: str, samples: Tensor, rate: float, *, spec: str = "1w2u", seed: int = 0, **options: Any
) -> nn.Module:
    """A network whose layers fire at about the given rate on the samples.

    Gammas and betas are spread as in the trained networks of models/, so that a layer's channels differ in their
    shifts; running statistics are those of the samples.
    """
    torch.manual_seed(seed)
    net = create_model(name, spec=spec, **options)
    norms = [module for module in net.modules() if isinstance(module, ChannelNorm)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.normal_(GAMMA, GAMMA_SPREAD).clamp_(min=GAMMA_LEAST)
            norm.bias.normal_(0, BETA_SPREAD)
            norm.momentum = 1.0  # the running statistics are the last batch's
    with torch.no_grad(), in_mode(net, training=True), _firing_at(net, rate):
        net(samples)
    return net


@contextmanager
def _firing_at(net: nn.Module, rate: float) -> Iterator[None]:
    """While the network runs, every spiking layer moves its betas until it fires at the rate, then hands on."""

    def hook(block: SpikingBlock, operands: tuple[Tensor, ...], _: Tensor) -> Tensor:
        norm = block.norm
        if norm is None:
            raise ValueError(f"{block.label} has no batch norm whose betas could move")
        betas = norm.bias.clone()
        spikes = torch.empty(0)

        def rate_at(shift: float) -> float:
            nonlocal spikes
            norm.bias.copy_(betas + shift)
            spikes = block.compute(*operands)
            return float(spikes.mean())

        approach(rate_at, rate)
        return spikes if block.pool is None else block.pool(spikes)

    blocks = [module for module in net.modules() if isinstance(module, SpikingBlock)]
    hooks = [block.register_forward_hook(hook) for block in blocks]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def approach(rate_at: Callable[[float], float], rate: float) -> float:
    """The shift that brings a rising rate near the wanted one; the last one that was tried.

    Sums behind a batch norm are about normal, so their quantiles are about a straight line, and a secant of it lands
    near; where it leaves what is known to enclose the rate, that is halved.
    """
    normal = NormalDist()
    wanted = normal.inv_cdf(rate)
    shift, low, high = 0.0, -FARTHEST, FARTHEST
    slope, before = 1.0, (0.0, 0.0)
    for tried in range(SEARCHES):
        reached = rate_at(shift)
        if abs(reached - rate) <= NEAR * rate or tried + 1 == SEARCHES:
            break
        low, high = (shift, high) if reached < rate else (low, shift)
        quantile = normal.inv_cdf(min(max(reached, 1e-6), 1 - 1e-6))
        if tried and (quantile - before[1]) * (shift - before[0]) > 0:
            slope = (quantile - before[1]) / (shift - before[0])
        before = (shift, quantile)
        step = (wanted - quantile) / slope
        shift = shift + step if low < shift + step < high else (low + high) / 2
    return shift
