"""Firing rates of every spiking block, told by the blocks themselves."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from bitspike.block import SpikingBlock
from bitspike.block.across import processes, summed
from bitspike.block.layers import FiringListener
from bitspike.quant import straight_through


class FiringRates:
    """Collect the firing rate of each spiking block while the context is open.

        with FiringRates(net) as rates:
            net(images)
        rates.mean()                     # {"block.name": spikes / (neurons * samples * steps)}

    Rates add up over forward passes until `clear()`. Several nets can be watched at once. `differentiable=True`
    keeps the graph, for a loss on the rates.
    """

    def __init__(self, net: nn.Module, *, differentiable: bool = False) -> None:
        self.net = net
        self.differentiable = differentiable
        self._spikes: dict[str, Tensor] = {}
        self._neurons: dict[str, int] = {}
        self._listeners: list[tuple[SpikingBlock, FiringListener]] = []

    def __enter__(self) -> Self:
        for name, module in self.net.named_modules():
            if isinstance(module, SpikingBlock):
                self._listeners.append((module, self._listener(name)))
                module.on_firing.append(self._listeners[-1][1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for block, listener in self._listeners:
            block.on_firing.remove(listener)
        self._listeners.clear()

    def _listener(self, name: str) -> FiringListener:
        def count(fired: Tensor, places: int) -> None:
            spikes = fired if self.differentiable else fired.detach()
            # Insertion order is the order of execution, which is what "first" and "last" layer mean below.
            self._spikes[name] = self._spikes[name] + spikes if name in self._spikes else spikes
            self._neurons[name] = self._neurons.get(name, 0) + places

        return count

    def clear(self) -> None:
        """Forget what was counted."""
        self._spikes.clear()
        self._neurons.clear()

    def rates(self) -> dict[str, Tensor]:
        """Rates in [0, 1] as tensors, in the order of execution; differentiable where asked for."""
        return {name: spikes / self._neurons[name] for name, spikes in self._spikes.items()}

    def mean(self) -> dict[str, float]:
        """Rates as plain numbers, in the order of execution."""
        return {name: int(spikes) / self._neurons[name] for name, spikes in self._spikes.items()}


def over_processes(rates: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rates over the samples of all processes; the gradient is that of the own ones, for `block.across`."""
    if processes() == 1 or not rates:
        return rates
    own = torch.stack(list(rates.values()))
    mean = (summed(own.double()) / processes()).to(own.dtype)
    return dict(zip(rates, straight_through(mean, own), strict=True))


def regulated_layers(rates: dict[str, Tensor], layers: str) -> list[Tensor]:
    """The rates that the spike-rate loss sees: "all", or "hidden" without the first and the last block."""
    values = list(rates.values())
    if layers == "all":
        chosen = values
    elif layers == "hidden":
        chosen = values[1:-1]
    else:
        raise ValueError(f"layers is {layers!r}; allowed: hidden, all")
    if not chosen:
        raise ValueError(
            f'the spike-rate loss over "{layers}" layers finds none among {len(values)} spiking blocks; '
            'set regulation.layers = "all" or regulation.spike_loss = 0'
        )
    return chosen
