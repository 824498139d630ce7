"""`remove_`: channels leave a network, in place, all or nothing.

What stays is carried over as it is: latent weights, biases, batch norm with its running statistics. The integers are
computed from them afresh, and scales that are taken over several weights (the mean or largest magnitude of a channel
or a layer) or a standardization of weights are then taken over those that are left. So fine-tune after pruning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, cast

from torch import Tensor, nn

from bitspike.block import Readout, SpikingBlock, blocks_of
from bitspike.prune.assign import assign_all, assignments, refuse_shared
from bitspike.prune.course import course
from bitspike.prune.plan import Change, Channels, plan


@dataclass(frozen=True)
class RemovedChannels:
    """Channels of one block before and after."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class RemovalReport:
    """What changed and what was left alone.

    layers: every spiking block, in order of execution; rewired: blocks that read fewer channels than before, or whose
    skip has another map; parameters_before, parameters_after: of the whole network.
    """

    layers: tuple[RemovedChannels, ...]
    rewired: tuple[str, ...]
    parameters_before: int
    parameters_after: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return asdict(self)


def remove_(net: nn.Module, keep: Mapping[str, Sequence[int]]) -> RemovalReport:
    """Remove the output channels that `keep` does not name, and everything that reads them, in place.

    keep: name of a spiking block -> numbers of the output channels that stay (their order does not matter); blocks
        that are not named keep all. Both sides of a skip may keep what they like.
    The network remembers what is left, in its original numbering, as `net.pruned`; model files carry that on.
    Parameters are new objects: make the optimizer afterwards. If anything is refused, nothing is changed.
    """
    blocks = {name: block for name, block in blocks_of(net) if isinstance(block, SpikingBlock | Readout)}
    wanted = {name: _checked(name, blocks, stay) for name, stay in keep.items()}
    changes = plan(course(net), wanted)
    found = [item for name, change in changes.items() for item in assignments(name, blocks[name], change)]
    refuse_shared(net, found)
    report_layers = tuple(
        RemovedChannels(name, change.outputs.channels, len(change.outputs.stay))
        for name, change in changes.items()
        if isinstance(blocks[name], SpikingBlock)
    )
    rewired = tuple(name for name, change in changes.items() if _is_rewired(blocks[name], change))
    before = _parameters(net)
    remembered = removed_from(net) | _composed(removed_from(net), changes)
    assign_all(net, found)
    if remembered:
        cast(Any, net).pruned = remembered
    return RemovalReport(report_layers, rewired, before, _parameters(net))


def removed_from(net: nn.Module) -> dict[str, list[int]]:
    """What earlier removals left: block name -> channels that stayed, numbered as in the network as it was made."""
    return {name: list(stay) for name, stay in vars(net).get("pruned", {}).items()}


def _checked(name: str, blocks: Mapping[str, SpikingBlock | Readout], stay: Sequence[int]) -> Channels:
    block = blocks.get(name)
    if isinstance(block, Readout):
        raise ValueError(f"keep names {name}, a readout; its outputs are the classes and all of them stay")
    if block is None:
        spiking = [known for known, found in blocks.items() if isinstance(found, SpikingBlock)]
        raise ValueError(f"keep names {name!r}, which is no spiking block; they are {', '.join(spiking)}")
    numbers = stay.tolist() if isinstance(stay, Tensor) else list(stay)
    if not all(isinstance(number, Integral) and not isinstance(number, bool) for number in numbers):
        raise TypeError(f"keep[{name!r}] is {_short(numbers)}; give whole numbers, those of the channels that stay")
    numbers = [int(number) for number in numbers]
    if not numbers:
        raise ValueError(f"keep[{name!r}] is empty; {name} must keep at least one of its {block.out_channels} channels")
    if min(numbers) < 0 or max(numbers) >= block.out_channels or len(set(numbers)) < len(numbers):
        raise ValueError(
            f"keep[{name!r}] is {_short(numbers)}; give different channels from 0 to {block.out_channels - 1}"
        )
    return tuple(sorted(numbers))


def _short(numbers: list[Any]) -> str:
    shown = ", ".join(repr(number) for number in numbers[:8])
    return f"[{shown}{', ...' if len(numbers) > 8 else ''}]"


def _is_rewired(block: SpikingBlock | Readout, change: Change) -> bool:
    skip_loses = change.skip_inputs is not None and change.skip_inputs.loses
    return change.inputs.loses or skip_loses or getattr(block, "skip", None) != change.skip


def _parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _composed(earlier: Mapping[str, list[int]], changes: Mapping[str, Change]) -> dict[str, list[int]]:
    """What a removal leaves, in the numbering of the network as it was made."""
    found = {}
    for name, change in changes.items():
        if change.outputs.loses:
            numbering = earlier.get(name, range(change.outputs.channels))
            found[name] = [numbering[channel] for channel in change.outputs.stay]
    return found
