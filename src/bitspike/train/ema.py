"""Exponential moving average of a network's parameters and buffers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """average <- d * average + (1 - d) * value after step k, with d = min(decay, (1 + k) / (10 + k)).

    The ramp lets the average forget the random start. Whole-number buffers (batch counters) are copied.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"the decay of the moving average is {decay!r}; it must lie between 0 and 1")
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the network after global step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1.0 - decay)
            else:
                self.values[name].copy_(value)

    @torch.no_grad()
    def copy_to(self, net: nn.Module) -> None:
        """Overwrite the network with the average."""
        _overwrite(net, self.values)

    @contextmanager
    def applied(self, net: nn.Module) -> Iterator[None]:
        """The network holds the average inside the context and its own values again after it."""
        own = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.copy_to(net)
        try:
            yield
        finally:
            _overwrite(net, own)


@torch.no_grad()
def _overwrite(net: nn.Module, values: dict[str, Tensor]) -> None:
    for name, target in net.state_dict().items():
        target.copy_(values[name])
