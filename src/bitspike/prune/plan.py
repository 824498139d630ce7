"""What a removal comes to in every block, found before anything is touched.

The channels that stay are followed from block to block: through pools as they are, through
flatten as all positions of a channel, into weights as columns and into plain skips as their map of channels. Maps are
general, so the two sides of a skip need not keep the same channels, nor equally many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from bitspike.block import (
    ConvSkip,
    EventInput,
    Flatten,
    GlobalSumPool,
    ImageInput,
    MaxPool,
    PlainSkip,
    Readout,
    SpikingBlock,
    SumPool,
)
from bitspike.block.spiking import Skip
from bitspike.lowering import Step
from bitspike.prune.course import Course

Channels = tuple[int, ...]


@dataclass(frozen=True)
class Kept:
    """Of so many channels (or features), those that stay, ascending."""

    channels: int
    stay: Channels

    @staticmethod
    def all_of(channels: int) -> Kept:
        """Nothing goes."""
        return Kept(channels, tuple(range(channels)))

    @property
    def loses(self) -> bool:
        """Whether anything goes."""
        return len(self.stay) < self.channels

    def flattened(self, positions: int) -> Kept:
        """The features behind flatten: channel * positions + position."""
        stay = tuple(channel * positions + position for channel in self.stay for position in range(positions))
        return Kept(self.channels * positions, stay)


@dataclass(frozen=True)
class Change:
    """What one weighted block keeps: outputs, inputs, inputs of its convolved skip, and the skip it then has."""

    outputs: Kept
    inputs: Kept
    skip_inputs: Kept | None
    skip: Skip | None

    @property
    def touches(self) -> bool:
        """Whether the block is changed at all."""
        skip_loses = self.skip_inputs is not None and self.skip_inputs.loses
        return self.outputs.loses or self.inputs.loses or skip_loses


def plan(course: Course, keep: Mapping[str, Channels]) -> dict[str, Change]:
    """The change of every weighted block by name, in order of execution."""
    values: dict[str, Kept] = {}
    changes: dict[str, Change] = {}
    for step in course.steps:
        name, sources = course.names[id(step.block)], [values[source] for source in step.sources]
        if isinstance(step.block, SpikingBlock | Readout):
            change = _change(name, step.block, sources, keep.get(name))
            if changes.setdefault(name, change) != change:
                raise ValueError(
                    f"{name} runs more than once with one set of weights, and what it reads would lose different "
                    "channels; keep the same channels in all that it reads, or leave those whole"
                )
            values[step.name] = change.outputs
        else:
            values[step.name] = _passed_on(name, step, sources)
    return changes


def _passed_on(name: str, step: Step, sources: list[Kept]) -> Kept:
    """What a block without weights hands on."""
    match step.block:
        case ImageInput() | EventInput():
            return Kept.all_of(step.shape[2])
        case MaxPool() | SumPool() | GlobalSumPool():
            return sources[0]
        case Flatten():
            return sources[0].flattened(torch.Size(step.source_shapes[0][3:]).numel())
    raise ValueError(f"{name} is a {type(step.block).__name__}, and pruning does not know what it makes of channels")


def _change(name: str, block: SpikingBlock | Readout, sources: list[Kept], stay: Channels | None) -> Change:
    if isinstance(block, Readout):
        return Change(Kept.all_of(len(block.weight)), sources[0], None, None)
    outputs = Kept.all_of(block.out_channels) if stay is None else Kept(block.out_channels, stay)
    operand = sources[1] if len(sources) > 1 else None
    if operand is None or not (operand.loses or outputs.loses):
        return Change(outputs, sources[0], operand if isinstance(block.skip, ConvSkip) else None, block.skip)
    if isinstance(block.skip, ConvSkip):
        return Change(outputs, sources[0], operand, replace(block.skip, in_channels=len(operand.stay)))
    if isinstance(block.skip, PlainSkip):
        return Change(outputs, sources[0], None, joined(block.skip, operand, outputs))
    raise ValueError(f"{name} has a {type(block.skip).__name__}, and pruning does not know what it makes of channels")


def joined(skip: PlainSkip, operand: Kept, outputs: Kept) -> PlainSkip:
    """A plain skip between what is left on both sides; without a map where channel c meets channel c."""
    number = {channel: position for position, channel in enumerate(operand.stay)}
    before = range(operand.channels) if skip.channel_map is None else skip.channel_map
    after = tuple(number.get(before[channel], -1) for channel in outputs.stay)
    same = after == tuple(range(len(operand.stay)))
    return replace(skip, channel_map=None if same else after)
