"""`lower`: from a network of blocks to an `IntegerNet`, by watching the blocks run once.

The network is run in eval mode on one sample. Every block that runs is noted with the values it read, so any Python in
`forward` is fine as long as values go from block to block unchanged and do not decide which blocks run.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn

from bitspike.block.base import Block, blocks_of, in_mode, watching
from bitspike.block.fold import dead_zone
from bitspike.block.layers import SpikingBlock
from bitspike.block.plain import EventInput, Flatten, GlobalSumPool, ImageInput, MaxPool, SumPool
from bitspike.block.quantize import foreign_modules
from bitspike.block.readout import Readout
from bitspike.block.to_integers import Range, to_node
from bitspike.integer import graph
from bitspike.runtime.net import IntegerNet
from bitspike.spec import MembraneSpec


class DeadZoneWarning(UserWarning):
    """Stored membranes that never leak away, over a large part of their range."""


@dataclass(frozen=True)
class Step:
    """One block's run: its name, what it read (by name) and the shapes [T, B, ...] that went in and out."""

    name: str
    block: Block
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    source_shapes: tuple[tuple[int, ...], ...]


def trace(net: nn.Module) -> list[Step]:
    """The blocks of a network in the order in which they run on a sample of zeros, and how their values connect."""
    return _trace(net, busy=False)


def _trace(net: nn.Module, *, busy: bool) -> list[Step]:
    names = {id(block): name for name, block in blocks_of(net)}
    entrance = [block for _, block in blocks_of(net) if isinstance(block, ImageInput | EventInput)]
    if len(entrance) != 1:
        raise ValueError(
            f"the network has {len(entrance)} input blocks; it needs exactly one ImageInput or EventInput, run first"
        )
    steps: list[Step] = []
    made: dict[int, tuple[str, Tensor, int]] = {}  # keeps results alive, so that ids stay unique
    sample = _sample(entrance[0], net, busy=busy)

    def note(block: Block, operands: tuple[Tensor, ...], result: Tensor) -> None:
        name = names.get(id(block), type(block).__name__)
        used = sum(step.block is block for step in steps)
        name = f"{name}#{used + 1}" if used else name
        sources = []
        for operand in operands:
            if id(operand) in made:
                sources.append(made[id(operand)][0])
            elif operand is not sample:
                _refuse_foreign(net, name)
            elif block is not entrance[0]:
                raise ValueError(f"{name} reads the network's samples; they enter through {names[id(entrance[0])]}")
        shapes = tuple(tuple(operand.shape) for operand in operands)
        steps.append(Step(name, block, tuple(sources), tuple(result.shape), shapes))
        made[id(result)] = (name, result, result._version)

    with torch.inference_mode(False), in_mode(net, training=False), torch.no_grad(), watching(note):
        result = net(sample)
    for name, value, version in made.values():
        if value._version != version:
            raise ValueError(
                f"an operation in forward changes the result of {name} in place; only blocks may change values"
            )
    answer = made[id(result)][0] if id(result) in made else ""
    if not steps or not isinstance(steps[-1].block, Readout) or answer != steps[-1].name:
        raise ValueError("the network must return the result of a Readout, unchanged")
    return steps


def _sample(entrance: ImageInput | EventInput, net: nn.Module, *, busy: bool) -> Tensor:
    """One sample: zeros, or as busy as its input allows."""
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    shape, high = (1, *entrance.shape), 255
    if isinstance(entrance, EventInput):
        shape, high = (entrance.time_steps or 1, *shape), entrance.bound
    if not busy:
        return torch.zeros(shape, dtype=torch.uint8, device=device)
    drawn = torch.randint(0, high + 1, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return drawn.to(device)


def refuse_branches(net: nn.Module, steps: list[Step]) -> None:
    """A way through forward that depends on the values cannot be told by watching one run; this finds most of them."""
    ways = [[(step.name, step.sources) for step in run] for run in (steps, _trace(net, busy=True))]
    if ways[0] != ways[1]:
        raise ValueError(
            "forward takes another way for another sample; the blocks that run, and what they read, must not depend "
            "on values"
        )


def _refuse_foreign(net: nn.Module, name: str) -> None:
    foreign = foreign_modules(net)
    inside = {id(part) for _, block in blocks_of(net) for part in block.modules()}
    leaves = [
        f"{at} ({type(module).__name__})"
        for at, module in net.named_modules()
        if id(module) not in inside and not list(module.children()) and at
    ]
    named = ", ".join(leaves or foreign)
    found = f"modules that are no blocks: {named}" if named else "an operation in forward, such as x + y or x.flatten"
    raise ValueError(
        f"{name} reads a value that no block made, so the network has no integer form; between blocks it has {found}"
    )


def lower(net: nn.Module) -> IntegerNet:
    """The integer network that `net` is: exactly what it computes in eval mode, as plain data.

    Refuses by name what has no integers: layers left at 32 bits, the dynamic membrane, foreign modules, sums
    that could leave 32 bits. Warns where a slow leak never lets a stored membrane decay.
    """
    for name, block in blocks_of(net):
        if not block.has_integer_form:
            raise ValueError(f"{name} {_why_not(block)}")
    steps = trace(net)
    refuse_branches(net, steps)
    _refuse_open_time(steps)
    ranges = input_ranges(steps)
    nodes = tuple(_node(step, ranges) for step in steps)
    notes = _dead_zones(steps)
    for text, slow in notes.items():
        if slow:
            warnings.warn(text, DeadZoneWarning, stacklevel=2)
    return IntegerNet(graph.Graph(nodes), (*notes, *_mistaken_end(net, steps)))


def _refuse_open_time(steps: list[Step]) -> None:
    """A readout's bias is added once, T times its value, so T has to be known."""
    entrance, last = steps[0].block, steps[-1].block
    if isinstance(entrance, EventInput) and entrance.time_steps is None:  # noqa: SIM102
        if isinstance(last, Readout) and last.bias is not None and bool(last.bias.any()):
            raise ValueError(
                f"{steps[0].name} takes any number of time steps, but the bias of {steps[-1].name} is made for one; "
                "give EventInput its time_steps, or use Readout(bias=False)"
            )


def input_ranges(steps: list[Step]) -> dict[str, Range]:
    """Smallest and largest value per channel of every block's result, by name."""
    ranges: dict[str, Range] = {}
    for step in steps:
        ranges[step.name] = _range(step, ranges)
    return ranges


def _range(step: Step, ranges: dict[str, Range]) -> Range:
    block = step.block
    if isinstance(block, ImageInput):
        zero = torch.tensor(block.zero_point, dtype=torch.int64)
        return Range(-zero, 255 - zero)
    if isinstance(block, EventInput):
        none = torch.zeros(block.shape[0], dtype=torch.int64)
        return Range(none, none + block.bound)
    if isinstance(block, SpikingBlock):
        none = torch.zeros(block.out_channels, dtype=torch.int64)
        return Range(none, none + 1)
    values = ranges[step.sources[0]]
    if isinstance(block, SumPool | GlobalSumPool):
        window = step.source_shapes[0][-2:] if block.kernel is None else block.kernel
        return Range(values.low * window[0] * window[1], values.high * window[0] * window[1])
    if isinstance(block, Flatten):
        positions = int(torch.Size(step.source_shapes[0][3:]).numel())
        return Range(values.low.repeat_interleave(positions), values.high.repeat_interleave(positions))
    return values


def _why_not(block: Block) -> str:
    if isinstance(block, SpikingBlock) and block.membrane_spec.form == "dynamic":
        return (
            "has the dynamic membrane, whose scale is the maximum over the batch at hand: no device can know it; "
            'train with membrane.form = "static"'
        )
    what = "weights" if not isinstance(block, SpikingBlock) or block.weight_spec.is_float else "membrane"
    return f'has {what} of 32 bits and so no integer form; quantize_(net, "1w2u") first, and train'


def _node(step: Step, ranges: dict[str, Range]) -> graph.Node:
    block, name = step.block, step.name
    if isinstance(block, ImageInput):
        return graph.Input(name, "image", block.shape, block.time_steps, block.zero_point, 255, block.scale)
    if isinstance(block, EventInput):
        zero = (0,) * block.shape[0]
        return graph.Input(name, "events", block.shape, block.time_steps, zero, block.bound, 1.0)
    return _inner_node(step, step.sources[0], ranges)


def _inner_node(step: Step, source: str, ranges: dict[str, Range]) -> graph.Node:
    block, name = step.block, step.name
    match block:
        case SpikingBlock():
            skip = step.sources[1] if len(step.sources) > 1 else ""
            return to_node(block, name, ranges[source], ranges.get(skip), source, skip)
        case Readout():
            return block.to_node(name, source, step.shape[0], ranges[source].high, ranges[source].low)
        case MaxPool() | SumPool() | GlobalSumPool():
            return graph.Pool(name, source, block.kind, block.kernel, block.stride, block.padding)
        case Flatten():
            return graph.Flatten(name, source)
    raise ValueError(f"{name} is a {type(block).__name__}, which lowering does not know")


def _mistaken_end(net: nn.Module, steps: list[Step]) -> list[str]:
    """A note where the layer that reads the input is not the first one defined, which `quantize_` takes for that."""
    defined = [(name, block) for name, block in blocks_of(net) if isinstance(block, SpikingBlock | Readout)]
    (name, taken), first = defined[0], next(step for step in steps if isinstance(step.block, SpikingBlock | Readout))
    if not isinstance(first.block, SpikingBlock) or taken.weight_spec == first.block.weight_spec:
        return []
    return [
        f"{first.name} reads the input with {first.block.weight_spec.bits}-bit weights, while {name}, which is defined "
        f"before it, has the {taken.weight_spec.bits} bits of an end; define {first.name} first"
    ]


def _dead_zones(steps: list[Step]) -> dict[str, bool]:
    """What there is to note of dead zones, and whether it deserves a warning: not at the fast leak of 1/2, where
    the zone is a single level, and not without a leak.
    """
    layers: dict[MembraneSpec, list[str]] = {}
    for step in steps:
        if isinstance(step.block, SpikingBlock):
            layers.setdefault(step.block.membrane_spec, []).append(step.name)
    found = {}
    for spec, names in layers.items():
        zone = dead_zone(spec)
        if zone > spec.levels / 4:
            text = f"stored membranes up to {zone} of {spec.levels} steps never leak"
            text = f"{', '.join(names)}: {text} (leak {spec.leak}, rounding {spec.rounding})"
            found[text] = Fraction(1, 2) < spec.leak < 1
    return found
