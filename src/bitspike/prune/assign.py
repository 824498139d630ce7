"""The new values of a removal: all computed first, then all put in place, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import Readout, SpikingBlock, blocks_of
from bitspike.lowering import trace
from bitspike.prune.channels import Slot, columns_of, rows_of
from bitspike.prune.course import unquantized
from bitspike.prune.plan import Change, Kept

Assignment = tuple[nn.Module, str, Any]


def assignments(name: str, block: SpikingBlock | Readout, change: Change) -> list[Assignment]:
    """Owner, attribute and new value of everything that a change replaces in a block."""
    if not change.touches and getattr(block, "skip", None) == change.skip:
        return []
    taken: dict[Slot, dict[int, Kept]] = {}  # slot -> axis -> what stays of it
    taken.setdefault(columns_of(name, block), {})[1] = change.inputs
    found: list[Assignment] = []
    if isinstance(block, SpikingBlock):
        for slot in rows_of(name, block):
            taken.setdefault(slot, {})[0] = change.outputs
        if change.skip_inputs is not None:
            taken.setdefault(Slot(block, "skip_weight"), {})[1] = change.skip_inputs
        found = [(block, "skip", change.skip), (block, "out_channels", len(change.outputs.stay))]
    for slot, axes in taken.items():
        if any(kept.loses for kept in axes.values()):
            found.append((slot.owner, slot.attribute, _taken(slot.value, axes)))
    return found


def _taken(value: Tensor, axes: Mapping[int, Kept]) -> Tensor:
    """What stays of a tensor, as a parameter if it was one."""
    left = value.detach()
    for axis, kept in axes.items():
        left = left.index_select(axis, torch.tensor(kept.stay, device=value.device))
    if isinstance(value, nn.Parameter):
        return nn.Parameter(left, requires_grad=value.requires_grad)
    return left


def refuse_shared(net: nn.Module, assignments: list[Assignment]) -> None:
    """A tensor that two blocks share would fall apart into two."""
    owners: dict[int, list[str]] = {}
    for name, block in blocks_of(net):
        for path, tensor in [*block.named_parameters(remove_duplicate=False), *block.named_buffers()]:
            owners.setdefault(id(tensor), []).append(f"{name}.{path}")
    for owner, attribute, value in assignments:
        names = owners.get(id(getattr(owner, attribute)), []) if isinstance(value, Tensor) else []
        if len(names) > 1:
            raise ValueError(f"{' and '.join(names)} are one tensor, so neither can lose channels; untie them first")


def assign_all(net: nn.Module, assignments: list[Assignment]) -> None:
    """Put all new values in place, and the old ones back if the network then does not run as it did."""
    old = [(owner, attribute, getattr(owner, attribute)) for owner, attribute, _ in assignments]
    try:
        for owner, attribute, value in assignments:
            setattr(owner, attribute, value)
        if assignments:
            with unquantized(net):
                trace(net)  # every block checks what it reads
    except BaseException:
        for owner, attribute, value in old:
            setattr(owner, attribute, value)
        raise
