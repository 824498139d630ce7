"""Whether the network of blocks gives the spikes of its source, layer by layer, in float64.

Every layer is given the source's own spikes, so the first difference is its own. A potential within `TIE` of the
threshold may go either way, as it may in the source in float32; from there on the neuron is not compared.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bitspike.block import Readout, SpikingBlock
from bitspike.block.training import float_current
from bitspike.imports.layers import CannotImport
from bitspike.model import SequenceNet
from bitspike.neuron import lif_step

TIE = 1e-6
"""Of the threshold and of the largest input current: how near to the threshold a decision is not compared."""


@dataclass(frozen=True)
class Compared:
    """What was compared of a layer: decisions of its neurons, those left out for a tie, and its firing rate."""

    name: str
    decisions: int
    ties: int
    rate: float


@torch.no_grad()
def compare(
    net: SequenceNet, samples: Tensor, results: Mapping[str, Tensor], labels: Mapping[str, str]
) -> list[Compared]:
    """Run the network on uint8 samples beside the source's results [T, B, ...], by our layers' names.

    labels: what the source calls them. Refuses, by name, the first layer that differs.
    """
    wide = copy.deepcopy(net).double().eval()
    value: Tensor = samples
    given: dict[str, Tensor] = {}  # what a layer gives
    found = []
    for name, block in wide.sequence:
        source = wide.skips.get(name)
        label = labels.get(name, name)
        if isinstance(block, SpikingBlock):
            wanted = results[name]
            found.append(_spikes(label, block, value, None if source is None else given[source], wanted))
            value = wanted
        elif isinstance(block, Readout):
            if name in results:
                _logits(label, block, value, results[name])
        else:
            value = block(value).double()
        given[name] = value
    return found


def _spikes(name: str, block: SpikingBlock, value: Tensor, skip: Tensor | None, wanted: Tensor) -> Compared:
    spec = block.membrane_spec
    if bool(((wanted != 0) & (wanted != 1)).any()):
        raise CannotImport(name, "gives values that are not 0 and 1 in the source, so no spikes")
    current, _ = float_current(block, value, skip, batch=False)
    if current.shape != wanted.shape:
        raise CannotImport(name, f"gives {list(wanted.shape)} in the source and {list(current.shape)} here")
    near = TIE * (spec.threshold + float(current.abs().max()))
    potential = torch.zeros_like(current[0])
    clear = torch.ones_like(potential, dtype=torch.bool)
    decisions = differ = 0
    for t, now in enumerate(current):
        total = float(spec.leak) * potential + now
        clear &= (total - spec.threshold).abs() > near
        fired, potential = lif_step(now, potential, spec)
        decisions += int(clear.sum())
        differ += int(((fired != wanted[t]) & clear).sum())
        # One that went the other way at a tie has another membrane from there on.
        clear &= fired == wanted[t]
    if differ:
        raise CannotImport(
            name,
            f"differs from the source in {differ} of {decisions} spikes compared; so its neurons compute something "
            "else than their class says, or something acts on them from outside",
        )
    return Compared(name, decisions, wanted.numel() - decisions, float(wanted.mean()))


def _logits(name: str, block: Readout, value: Tensor, wanted: Tensor) -> None:
    codes, scale = block.quantized()
    bias = None if block.bias is None else block.bias.double()
    ours = F.linear(value.double(), codes.double() * scale.double().unsqueeze(1), bias)
    if ours.shape != wanted.shape or not torch.allclose(ours, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max())):
        raise CannotImport(name, "gives other logits than the source")
