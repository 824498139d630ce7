"""Where a block keeps its channels: the one place that knows which tensors have a row or a column for each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from bitspike.block import Readout, SpikingBlock

ROWS = ("weight", "bias", "skip_weight", "weight_gamma", "skip_weight_gamma")
"""Tensors of a block whose first axis is its output channels; those of length 1 hold for the whole layer."""
NORM_ROWS = ("weight", "bias", "running_mean", "running_var")
"""The same of a batch norm."""


class Slot(NamedTuple):
    """A tensor by where it is kept."""

    owner: nn.Module
    attribute: str

    @property
    def value(self) -> Tensor:
        """The tensor that is there now."""
        found: Tensor = getattr(self.owner, self.attribute)
        return found


def rows_of(name: str, block: SpikingBlock) -> list[Slot]:
    """Every tensor of a block that has one row for each output channel.

    Refuses a tensor that is not listed above: nobody could tell what removing a channel means for it.
    """
    known = [Slot(block, attribute) for attribute in ROWS]
    for norm in (block.norm, block.skip_norm):
        known += [] if norm is None else [Slot(norm, attribute) for attribute in NORM_ROWS]
    _refuse_unknown(name, block, known)
    present = [slot for slot in known if getattr(slot.owner, slot.attribute, None) is not None]
    return [slot for slot in present if slot.value.dim() > 0 and slot.value.shape[0] == block.out_channels]


def columns_of(name: str, block: SpikingBlock | Readout) -> Slot:
    """The tensor that has one column for each channel, or feature, of what a block reads."""
    slot = Slot(block, "weight")
    if isinstance(block, Readout):
        _refuse_unknown(name, block, [slot, Slot(block, "bias"), Slot(block, "weight_gamma")])
    return slot


def _refuse_unknown(name: str, block: nn.Module, known: list[Slot]) -> None:
    listed = {(id(slot.owner), slot.attribute) for slot in known}
    for path, module in block.named_modules():
        for attribute, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if value is not None and (id(module), attribute) not in listed:
                where = ".".join(part for part in (path, attribute) if part)
                raise ValueError(
                    f"{name} holds the tensor {where!r}, and removing channels does not know whether it has a row for "
                    "each channel; take it out of the block, or prune a network without it"
                )
