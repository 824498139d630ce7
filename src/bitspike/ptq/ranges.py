"""The largest potential that a membrane stores, alpha, found from the potentials that a float network has.

Of potentials u behind the reset:

    max          alpha = max |u|
    percentile   alpha = what 99.9 % of the |u| do not exceed
    mse          alpha = argmin sum (u - Q(u))^2, Q with the steps that the channels really get

With a hard reset no u exceeds the threshold, but many lie below its negative. A channel's step is a power of two times
its gain, so alpha counts only up to a factor of two, another one in every channel; that is why mse tries steps of
sqrt(2) and no finer ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from bitspike.block import Block, SpikingBlock, blocks_of
from bitspike.block.base import in_mode, watching
from bitspike.block.potentials import potentials
from bitspike.quant import membrane_exponent, quantize_membrane

KEPT = 1 << 14
"""Potentials that are kept of each channel, at most."""

SHARE = 0.999
FACTORS = tuple(2.0 ** (half / 2) for half in range(-6, 7))
"""What mse tries, times the threshold: from 1/8 to 8."""


Potentials = dict[str, Tensor]
"""Potentials behind the reset of every spiking layer, by its name: [C, samples]."""


@torch.no_grad()
def observed_potentials(net: nn.Module, batches: Iterable[Tensor]) -> Potentials:
    """Run a network in eval mode and keep what its membranes store, evenly picked where it is too much."""
    names = {id(block): name for name, block in blocks_of(net)}
    found: dict[str, list[Tensor]] = {}

    def note(block: Block, operands: tuple[Tensor, ...], result: Tensor) -> None:
        if not isinstance(block, SpikingBlock):
            return
        spec = block.membrane_spec
        kept = []
        for total in potentials(block, *operands):
            fired = total > spec.threshold if spec.strict else total >= spec.threshold
            after = total.masked_fill(fired, 0) if spec.reset == "hard" else total - spec.subtracted * fired
            kept.append(after.float().transpose(0, 1).flatten(1))
        found.setdefault(names[id(block)], []).append(_thinned(torch.cat(kept, 1)))

    with in_mode(net, training=False), watching(note):
        for batch in batches:
            net(batch)
    return {name: _thinned(torch.cat(parts, 1)) for name, parts in found.items()}


def _thinned(values: Tensor) -> Tensor:
    return values[:, :: -(-values.shape[1] // KEPT)] if values.shape[1] > KEPT else values


@torch.no_grad()
def found_range(block: SpikingBlock, how: str, stored: Tensor) -> float:
    """alpha of a quantized layer, by one of the ways above; stored: its potentials [C, samples] in float."""
    spec = block.membrane_spec
    if how == "max":
        return _positive(float(stored.abs().max()), spec.threshold)
    if how == "percentile":
        sizes = stored.abs().flatten().sort().values
        return _positive(float(sizes[round(SHARE * (len(sizes) - 1))]), spec.threshold)
    gain = block.channels(block.quantized()).gain
    best, least = spec.threshold, float("inf")
    for factor in FACTORS:
        trial = replace(spec, range=factor * spec.threshold)
        step = (gain * torch.exp2(membrane_exponent(gain, trial).double())).float().unsqueeze(1)
        noise = torch.full_like(stored, 0.5) if spec.rounding == "stochastic" else None
        error = float((quantize_membrane(stored, step, trial, noise) - stored).double().square().sum())
        if error < least:
            best, least = factor * spec.threshold, error
    return best


def _positive(alpha: float, threshold: float) -> float:
    """A layer that stores nothing keeps the usual range."""
    return alpha if alpha > 0 else threshold
