"""How values go through a network, watched once; what could not be followed is refused by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from bitspike.block import Readout, SpikingBlock, blocks_of
from bitspike.block.quantize import foreign_modules
from bitspike.lowering import Step, refuse_branches, trace
from bitspike.spec import MembraneSpec, WeightSpec


@contextlib.contextmanager
def unquantized(net: nn.Module) -> Iterator[None]:
    """All blocks at 32 bits inside: which channels meet is the same, and a run takes a tenth of the time."""
    floats = {"weight_spec": WeightSpec(), "membrane_spec": MembraneSpec()}
    before = [
        (block, name, getattr(block, name)) for _, block in blocks_of(net) for name in vars(block).keys() & floats
    ]
    try:
        for block, name, _ in before:
            setattr(block, name, floats[name])
        yield
    finally:
        for block, name, spec in before:
            setattr(block, name, spec)


@dataclass(frozen=True)
class Course:
    """How values go through a network: its steps, and the names of its blocks by identity."""

    steps: list[Step]
    names: dict[int, str]


def course(net: nn.Module) -> Course:
    """Watch a network run; refuses what cannot be followed."""
    with unquantized(net):
        steps = trace(net)
        refuse_branches(net, steps)
    names = {id(block): name for name, block in blocks_of(net)}
    _refuse_strangers(net, steps, names)
    return Course(steps, names)


def _refuse_strangers(net: nn.Module, steps: list[Step], names: dict[int, str]) -> None:
    """Blocks that do not run, and modules that are no blocks: what they read cannot be told."""
    ran = {id(step.block) for step in steps}
    idle = [
        name for name, block in blocks_of(net) if isinstance(block, SpikingBlock | Readout) and id(block) not in ran
    ]
    if idle:
        raise ValueError(
            f"{', '.join(idle)} does not run in eval mode, so nobody can tell which channels it reads; take it out of "
            "the network before pruning"
        )
    if foreign := foreign_modules(net):
        raise ValueError(
            f"the network has modules that are no blocks ({', '.join(foreign)}), and nobody can tell which channels "
            "they read; build it from bitspike.block"
        )
    unknown = {id(block) for block in (step.block for step in steps)} - set(names)
    if unknown:
        raise ValueError("forward makes a block anew at every call; keep it as an attribute of the network")
