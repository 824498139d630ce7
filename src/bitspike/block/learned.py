"""Weight scales that are trained: which layers have one, where it comes from, when it goes."""

from __future__ import annotations

from torch import nn

from bitspike.block.layers import SpikingBlock
from bitspike.block.readout import Readout
from bitspike.quant import initial_gamma
from bitspike.spec import WeightSpec


def put_weight_spec(block: SpikingBlock | Readout, spec: WeightSpec) -> None:
    """Give a block another weight description, with a parameter for its scale where that is learned.

    The parameter starts from the gamma of least squared error of the weights as they are now. One that is there stays
    where the description does not change, so that quantizing twice is quantizing once, and goes where no scale is
    learned any more. Optimizers made before know nothing of a new one.
    """
    same = block.weight_spec == spec
    block.weight_spec = spec
    for name, weight in block.scaled_weights().items():
        if not spec.is_learned:
            setattr(block, name, None)
        elif getattr(block, name) is None or not same:
            setattr(block, name, nn.Parameter(initial_gamma(weight.detach(), block.grid_spec)))


def learned_scales(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that are scales of weights; weight decay must not pull on them."""
    found = []
    for block in net.modules():
        if isinstance(block, SpikingBlock | Readout):
            parameters = (getattr(block, name) for name in block.scaled_weights())
            found += [parameter for parameter in parameters if parameter is not None]
    return found
