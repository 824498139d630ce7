"""The membrane of a layer just before it fires, which no form keeps: for scores of pruning, and for ranges.

U[t] = leak * u[t-1] + i[t]          u: the stored membrane, after reset and quantizer; i: the current of one step
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from bitspike.block.base import integers
from bitspike.block.layers import SpikingBlock
from bitspike.block.to_integers import to_node
from bitspike.block.training import float_current
from bitspike.integer import ops
from bitspike.neuron import lif_step


def potentials(block: SpikingBlock, value: Tensor, skip: Tensor | None = None) -> Iterator[Tensor]:
    """U[t] = leak * u[t-1] + i[t] of a layer for its operands [T, B, ...]: [B, C, ...] of one step after the other.

    In real units, those of the threshold, so that channels compare. Computed as the layer evaluates: with integers
    where it has them, else in float with running statistics. Only one step is held at a time.
    """
    return _integer(block, value, skip) if block.has_integer_form else _float(block, value, skip)


@torch.no_grad()
def _integer(block: SpikingBlock, value: Tensor, skip: Tensor | None) -> Iterator[Tensor]:
    """The integers' I, whose unit is gain / 2^f, plus the offset and the skip's count.

    Both are missing from I itself: the integer form holds them in its thresholds.
    """
    whole = integers(value, block.label)
    whole_skip = None if skip is None else integers(skip, block.label)
    node = to_node(block, block.label, whole, whole_skip)
    current, count = ops.currents(whole, whole_skip, node)
    channels = block.channels(block.quantized())
    shift = torch.from_numpy(node.fire.shift).to(channels.gain)
    unit, offset = block.spread(channels.gain / torch.exp2(shift)), block.spread(channels.offset)
    stored = torch.zeros_like(current[0])
    for step, now in enumerate(current):
        counted = None if count is None else count[step]
        total = ((stored * node.fire.leak) << node.fire.h) + now
        natural = total.double() * unit + offset
        yield natural if counted is None else natural + counted
        _, stored = ops.fire_step(now, stored, counted, node.fire, step)


@torch.no_grad()
def _float(block: SpikingBlock, value: Tensor, skip: Tensor | None) -> Iterator[Tensor]:
    spec = block.membrane_spec
    current, step = float_current(block, value, skip, batch=False)
    stored = torch.zeros_like(current[0])
    for now in current:
        yield float(spec.leak) * stored + now
        noise = torch.rand_like(now) if spec.rounding == "stochastic" else None
        _, stored = lif_step(now, stored, spec, step, noise)
