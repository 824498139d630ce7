"""Random networks of all kinds of blocks, made so that removing channels must not change a single number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

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
    SpikingConv2d,
    SpikingLinear,
    SumPool,
    blocks_of,
    quantize_,
)
from bitspike.block.norm import ChannelNorm
from bitspike.spec import MembraneSpec, QuantSpec, WeightSpec

MEMBRANE = MembraneSpec(bits=4)
SPECS = {
    "binary": QuantSpec(WeightSpec(bits=1), MEMBRANE, WeightSpec(bits=8)),
    "4 bits": QuantSpec(WeightSpec(bits=4), MEMBRANE, WeightSpec(bits=8)),
    "float": QuantSpec(),
}


@dataclass(frozen=True)
class Layer:
    """One convolution: which values it reads (by number), its shape, its pool, its skip."""

    source: int
    block: tuple
    pool: str
    skip_source: int | None = None
    skip: PlainSkip | ConvSkip | None = None


@dataclass(frozen=True)
class Architecture:
    events: bool
    layers: tuple[Layer, ...]
    hidden: int  # neurons of a linear layer before the readout, 0 for none
    last: str  # pool before flatten
    bias: bool


class RandomNet(nn.Module):
    def __init__(self, made: Architecture, features: int) -> None:
        super().__init__()
        self.made = made
        self.input = (
            EventInput((2, 6, 5), bound=2, time_steps=2)
            if made.events
            else ImageInput((2, 6, 5), mean=(0.4, 0.6), std=0.25, time_steps=2)
        )
        self.convs = nn.ModuleList()
        for layer in made.layers:
            inputs, outputs, kernel, stride = layer.block
            scale = 2.0**-6 if layer.source == 0 and not made.events else 1.0
            pool = {"max": MaxPool(2), "sum": SumPool(2, 1)}.get(layer.pool)
            pool_sums = MaxPool(2) if layer.pool == "sums" else None
            self.convs.append(
                SpikingConv2d(
                    inputs,
                    outputs,
                    kernel,
                    stride=stride,
                    skip=layer.skip,
                    pool=pool,
                    pool_sums=pool_sums,
                    input_scale=scale,
                    bias=made.bias,
                )
            )
        self.pool = {"max": MaxPool(2, 1), "global": GlobalSumPool()}.get(made.last)
        self.flatten = Flatten()
        self.linear = SpikingLinear(features, made.hidden) if made.hidden else None
        self.readout = Readout(made.hidden or features, 3)

    def forward(self, samples: Tensor) -> Tensor:
        values = [self.input(samples)]
        for conv, layer in zip(self.convs, self.made.layers, strict=True):
            operands = [values[layer.source]]
            if layer.skip_source is not None:
                operands.append(values[layer.skip_source])
            values.append(conv(*operands))
        value = values[-1] if self.pool is None else self.pool(values[-1])
        value = self.flatten(value)
        logits: Tensor = self.readout(value if self.linear is None else self.linear(value))
        return logits


def _sizes(shape: tuple[int, int], kernel: int, stride: int) -> tuple[int, int]:
    return tuple((size + 2 * (kernel // 2) - kernel) // stride + 1 for size in shape)


@st.composite
def architectures(draw: st.DrawFn) -> tuple[Architecture, int]:
    """A network's description, and how many features its flatten gives."""
    events = draw(st.booleans())
    shapes = [(2, (6, 5))]
    layers: list[Layer] = []
    for number in range(draw(st.integers(1, 5))):
        source = draw(st.integers(max(0, number - 1), number))
        channels, size = shapes[source]
        kernel, stride, outputs = (
            draw(st.sampled_from((1, 3))),
            draw(st.sampled_from((1, 1, 2))),
            draw(st.integers(1, 6)),
        )
        result = _sizes(size, kernel, stride)
        skip, skip_source = _skip(draw, shapes, result, outputs, signed=not events, first=source == 0)
        pools = ("none", "max", "sum", *(("sums",) if skip is None else ()))
        pool = draw(st.sampled_from(pools)) if min(result) > 1 else "none"
        layers.append(Layer(source, (channels, outputs, kernel, stride), pool, skip_source, skip))
        if pool in ("max", "sums"):
            result = tuple(length // 2 for length in result)
        if pool == "sum":
            result = tuple(length - 1 for length in result)
        shapes.append((outputs, result))
    channels, size = shapes[-1]
    last = draw(st.sampled_from(("none", "max", "global"))) if min(size) > 1 else "none"
    size = {"none": size, "max": tuple(length - 1 for length in size), "global": (1, 1)}[last]
    made = Architecture(events, tuple(layers), draw(st.sampled_from((0, 0, 4))), last, draw(st.booleans()))
    return made, channels * size[0] * size[1]


def _skip(draw, shapes, result, outputs, *, signed, first):
    """Any earlier value whose map, every stride-th pixel of it, has the size of the layer's own."""
    fitting = [
        (number, stride)
        for number, (_, size) in enumerate(shapes)
        for stride in (1, 2, 3)
        if tuple(-(-length // stride) for length in size) == result and not (signed and number == 0)
    ]
    kind = draw(st.sampled_from(("none", "plain", "shared", "own")))
    if not fitting or kind == "none" or (first and signed):
        return None, None
    number, stride = draw(st.sampled_from(fitting))
    channels = shapes[number][0]
    if kind != "plain":
        return ConvSkip(channels, stride, norm=kind), number
    if channels == outputs and draw(st.booleans()):
        return PlainSkip(stride), number
    numbers = st.integers(-1, channels - 1)
    return PlainSkip(stride, tuple(draw(st.lists(numbers, min_size=outputs, max_size=outputs)))), number


@torch.no_grad()
def settle_exactly_(net: nn.Module, spec: QuantSpec, seed: int) -> nn.Module:
    """Weights and statistics for which scales do not depend on which channels there are.

    Every column of a weight's row holds the row's largest magnitude; on the sign's grid all magnitudes of a row are
    equal. Everything is a small multiple of a power of two, so floats are exact too, in any order of summing.
    """
    generator = torch.Generator().manual_seed(seed)

    def drawn(shape, low: int, high: int) -> Tensor:
        return torch.randint(low, high + 1, tuple(shape), generator=generator).float()

    binary = spec.weight.grid == "binary"
    for module in net.modules():
        if isinstance(module, ChannelNorm):
            module.eps = 0.0
            module.weight.copy_(drawn(module.weight.shape, 0, 1) * 1.5 - 0.5)
            module.bias.copy_(drawn(module.bias.shape, 0, 4) / 8)
            module.running_mean.copy_(drawn(module.running_mean.shape, -4, 4) / 8)
            module.running_var.fill_(1.0)
        elif isinstance(module, SpikingBlock | Readout):
            weights = [module.weight] + ([] if getattr(module, "skip_weight", None) is None else [module.skip_weight])
            largest = torch.exp2(-drawn((len(module.weight), 1, 1), 1, 2))
            for weight in weights:
                level = drawn((len(weight), weight.shape[1], weight[0, 0].numel()), -7, 7) / 8
                sign = drawn(level.shape[:2], 0, 1) * 2 - 1
                if isinstance(module, Readout):  # one scale for the layer: one class holds its largest weights
                    level, largest_here = level * 0.5, torch.ones(1)
                    level[0, :, 0] = sign[0]
                else:
                    largest_here = largest
                    level[..., 0] = sign
                    if binary:
                        level = torch.where(level < 0, -1.0, 1.0)
                weight.copy_((level * largest_here).reshape(weight.shape))
            if module.bias is not None:
                module.bias.copy_(drawn(module.bias.shape, -4, 4) / 8)
    quantize_(net, spec)
    return net.eval()


def silence_(net: nn.Module, keep: dict[str, list[int]]) -> list:
    """Hooks that make the removed channels of a network say nothing."""
    handles = []
    for name, block in blocks_of(net):
        if name in keep:
            stays = torch.zeros(block.out_channels)
            stays[list(keep[name])] = 1.0

            def hook(_block, _operands, result, stays=stays):
                return result * stays.reshape(-1, *(1,) * (result.dim() - 3))

            handles.append(block.register_forward_hook(hook))
    return handles


def random_keep(net: nn.Module, seed: int) -> dict[str, list[int]]:
    """Channels that stay, for most blocks of a network."""
    generator = torch.Generator().manual_seed(seed)
    keep = {}
    for name, block in blocks_of(net):
        if isinstance(block, SpikingBlock) and float(torch.rand((), generator=generator)) < 0.8:
            stay = int(torch.randint(1, block.out_channels + 1, (), generator=generator))
            keep[name] = sorted(torch.randperm(block.out_channels, generator=generator)[:stay].tolist())
    return keep


def samples_for(net: nn.Module, batch: int = 2, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    entrance = next(block for _, block in blocks_of(net) if isinstance(block, ImageInput | EventInput))
    if isinstance(entrance, EventInput):
        shape = (entrance.time_steps or 2, batch, *entrance.shape)
        return torch.randint(0, min(entrance.bound, 2) + 1, shape, dtype=torch.uint8, generator=generator)
    return torch.randint(0, 256, (batch, *entrance.shape), dtype=torch.uint8, generator=generator)
