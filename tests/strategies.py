"""Hypothesis strategies for networks of blocks: structure drawn by hypothesis, numbers from a drawn seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from hypothesis import HealthCheck, settings
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
)
from bitspike.block.learned import put_weight_spec
from bitspike.block.norm import ChannelNorm
from bitspike.spec import GRID_SCALES, LayerSpec, MembraneSpec, WeightSpec

# The same examples on every machine and at every run.
settings.register_profile(
    "bitspike", deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("bitspike")

LEAKS = ("0", "1/2", "3/4", "7/8", "1", "5/256")
STYLES = ("normal", "dyadic", "sparse", "constant")
OFFSETS = ("usual", "large", "huge")
VARIANCES = ("one", "usual", "tiny", "huge", "mixed")


def weight_specs() -> st.SearchStrategy[WeightSpec]:
    binary = st.builds(
        WeightSpec,
        bits=st.just(1),
        scale=st.sampled_from(("mean", "power_of_two")),
        per=st.sampled_from(("channel", "layer")),
        normalize=st.sampled_from(("none", "channel", "layer")),
        gradient=st.sampled_from(("clipped", "annealed_tanh")),
    )
    wide = st.builds(
        WeightSpec,
        bits=st.integers(2, 8),
        scale=st.sampled_from(GRID_SCALES["twos_complement"]),
        per=st.sampled_from(("channel", "layer")),
        normalize=st.sampled_from(("none", "channel", "layer")),
        rounding=st.sampled_from(("nearest", "floor", "stochastic")),
        seed=st.integers(0, 2**32 - 1),
    )
    fixed_point = st.builds(
        WeightSpec,
        bits=st.integers(2, 8),
        scale=st.just("power_of_two"),
        rounding=st.sampled_from(("nearest", "floor", "stochastic")),
        fraction=st.integers(0, 7),
    )
    odd = st.builds(
        WeightSpec,
        bits=st.integers(2, 8),
        grid=st.just("odd"),
        scale=st.sampled_from(GRID_SCALES["odd"]),
        per=st.sampled_from(("channel", "layer")),
        normalize=st.sampled_from(("none", "channel", "layer")),
        percentile=st.sampled_from((0.99, 0.6, 1.0)),
    )
    return binary | wide | fixed_point | odd


def membrane_specs() -> st.SearchStrategy[MembraneSpec]:
    amounts = st.sampled_from((None, None, 0.0, 0.4, 0.5, 2.0, 3.3))
    return st.tuples(_membrane_specs(), amounts).map(
        lambda pair: replace(pair[0], subtract=pair[1]) if pair[0].reset == "soft" else pair[0]
    )


def _membrane_specs() -> st.SearchStrategy[MembraneSpec]:
    return st.builds(
        MembraneSpec,
        bits=st.sampled_from((2, 2, 3, 4, 4, 5, 6, 8, 11, 16)),
        rounding=st.sampled_from(("nearest", "floor", "stochastic")),
        reset=st.sampled_from(("hard", "soft")),
        leak=st.sampled_from(LEAKS).map(Fraction),
        threshold=st.sampled_from((1.0, 1.0, 0.5, 0.3, 2.75)),
        range=st.sampled_from((None, None, 0.5, 1.7, 4.0)),
        seed=st.integers(0, 2**32 - 1),
        strict=st.booleans(),
        threshold_bits=st.sampled_from((32, 32, 32, 2, 4, 6, 8, 12, 16)),
    )


@dataclass(frozen=True)
class Stage:
    """A spiking convolution, with a second one that joins a skip where there is one, then pooling."""

    channels: int
    kernel: int
    stride: int
    padding: int
    bias: bool
    norm: bool
    skip: str  # none | plain | mapped | shared | own
    pool: str  # none | max | sum | overlap | padded | global | sums | sums overlap; the last two before the neurons


@dataclass(frozen=True)
class Plan:
    """Everything about a random network but its numbers, which come from the seed."""

    events: bool
    shape: tuple[int, int, int]
    time_steps: int
    stages: tuple[Stage, ...]
    dense: int  # channels of a spiking linear layer before the readout, 0 for none
    specs: tuple[LayerSpec, ...]
    readout: WeightSpec
    readout_bias: bool
    style: str
    offsets: str
    variances: str
    seed: int


def stages() -> st.SearchStrategy[Stage]:
    return st.builds(
        Stage,
        channels=st.sampled_from((1, 2, 3, 5, 31, 32, 33, 65)),
        kernel=st.sampled_from((1, 2, 3, 3)),
        stride=st.sampled_from((1, 1, 2)),
        padding=st.sampled_from((0, 1, 2)),
        bias=st.booleans(),
        norm=st.sampled_from((True, True, False)),
        skip=st.sampled_from(("none", "plain", "mapped", "shared", "own")),
        pool=st.sampled_from(("none", "max", "sum", "overlap", "padded", "global", "sums", "sums overlap")),
    )


def plans() -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        events=st.booleans(),
        shape=st.tuples(st.integers(1, 3), st.integers(3, 6), st.integers(3, 6)),
        time_steps=st.integers(1, 4),
        stages=st.lists(stages(), min_size=1, max_size=2).map(tuple),
        dense=st.sampled_from((0, 1, 7, 33)),
        specs=st.lists(st.builds(LayerSpec, weight_specs(), membrane_specs()), min_size=1, max_size=3).map(tuple),
        readout=st.builds(WeightSpec, bits=st.integers(1, 8))
        | st.builds(WeightSpec, bits=st.integers(2, 8), grid=st.just("odd"), scale=st.sampled_from(GRID_SCALES["odd"])),
        readout_bias=st.booleans(),
        style=st.sampled_from(STYLES),
        offsets=st.sampled_from(OFFSETS),
        variances=st.sampled_from(VARIANCES),
        seed=st.integers(0, 2**31 - 1),
    )


class RandomNet(nn.Module):
    """The network of a plan."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        numbers = np.random.default_rng(plan.seed)
        channels, height, width = plan.shape
        if plan.events:
            self.input: nn.Module = EventInput(plan.shape, bound=3, time_steps=plan.time_steps)
        else:
            mean = tuple(float(value) for value in numbers.choice((0.0, 0.3, 0.5, 1.0), channels))
            self.input = ImageInput(plan.shape, mean=mean, std=0.25, time_steps=plan.time_steps)
        scale = 1.0 if plan.events else 1 / (255 * 0.25)
        self.stages = nn.ModuleList()
        counts = plan.events  # what a stage reads are spikes or counts, which a plain skip may carry
        for stage in plan.stages:
            built = BuiltStage(stage, channels, (height, width), scale, counts, numbers)
            self.stages.append(built)
            channels, height, width = built.result
            scale, counts = 1.0, True
        self.flatten = Flatten()
        features = channels * height * width
        self.dense = SpikingLinear(features, plan.dense, bias=plan.dense == 7) if plan.dense else None
        self.readout = Readout(plan.dense or features, 4, bias=plan.readout_bias)
        set_specs_(self, plan.specs, plan.readout)
        scramble_(self, plan)

    def forward(self, samples: Tensor) -> Tensor:
        value = self.input(samples)
        for stage in self.stages:
            value = stage(value)
        value = self.flatten(value)
        if self.dense is not None:
            value = self.dense(value)
        logits: Tensor = self.readout(value)
        return logits


class BuiltStage(nn.Module):
    """One stage of a plan, its sizes brought to what fits."""

    def __init__(
        self,
        stage: Stage,
        channels: int,
        size: tuple[int, int],
        scale: float,
        counts: bool,
        numbers: np.random.Generator,
    ) -> None:
        super().__init__()
        # A plain skip carries spikes and counts only; a skip's maps must meet the stage's own.
        kind = "own" if stage.skip in ("plain", "mapped") and not counts else stage.skip
        kind = "shared" if kind == "own" and not stage.norm else kind
        kernel = stage.kernel if kind == "none" else stage.kernel | 1
        padding = min(stage.padding, kernel - 1) if kind == "none" else kernel // 2
        padding = padding if min(size) + 2 * padding >= kernel else kernel // 2
        plain = kind == "plain"
        outputs = channels if plain else stage.channels
        sizes = tuple((side + 2 * padding - kernel) // stage.stride + 1 for side in size)
        before = None
        if stage.pool.startswith("sums") and kind == "none" and min(sizes) >= 2:
            before = MaxPool(2, 1 if stage.pool.endswith("overlap") else 2)
            sizes = tuple((side - 2) // before.stride[0] + 1 for side in sizes)
        make: Callable[..., SpikingConv2d] = SpikingConv2d
        self.first = make(
            channels,
            outputs,
            kernel,
            stride=stage.stride,
            padding=padding,
            bias=stage.bias,
            norm=stage.norm,
            input_scale=scale,
            pool_sums=before,
        )
        self.second = None
        if kind != "none":
            skip: PlainSkip | ConvSkip = PlainSkip(stage.stride)
            if kind == "mapped":
                skip = PlainSkip(stage.stride, tuple(int(at) for at in numbers.integers(-1, channels, outputs)))
            elif kind in ("shared", "own"):
                side = int(numbers.choice((1, 3)))
                skip = ConvSkip(channels, stage.stride, side, kind)
            self.second = SpikingConv2d(outputs, outputs, 3, bias=stage.bias, norm=stage.norm, skip=skip)
        self.pool: nn.Module | None = None
        if stage.pool == "global":
            self.pool, sizes = GlobalSumPool(), (1, 1)
        elif stage.pool == "padded":
            self.pool = MaxPool(3, 2, 1) if stage.norm else SumPool(3, 2, 1)
            sizes = tuple((side - 1) // 2 + 1 for side in sizes)
        elif stage.pool in ("max", "sum", "overlap") and min(sizes) >= 2:
            step = 1 if stage.pool == "overlap" else 2
            self.pool = MaxPool(2) if stage.pool == "max" else SumPool(2, step)
            sizes = tuple((side - 2) // step + 1 for side in sizes)
        self.result = (outputs, *sizes)

    def forward(self, value: Tensor) -> Tensor:
        result = self.first(value)
        if self.second is not None:
            result = self.second(result, value)
        return result if self.pool is None else self.pool(result)


def set_specs_(net: nn.Module, specs: tuple[LayerSpec, ...], readout: WeightSpec) -> None:
    """Give the layers the specs in turn, and streams of their own."""
    place = 0
    for _, block in blocks_of(net):
        if isinstance(block, SpikingBlock):
            layer = specs[place % len(specs)]
            put_weight_spec(block, layer.weight)
            block.membrane_spec, block.stream = layer.membrane, place
            place += 1
        elif isinstance(block, Readout):
            put_weight_spec(block, readout)


@torch.no_grad()
def scramble_(net: nn.Module, plan: Plan) -> None:
    """Random numbers of the plan's style in every parameter and statistic."""
    numbers = np.random.default_rng(plan.seed + 1)

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, np.float32))

    for _, block in blocks_of(net):
        for name, parameter in block.named_parameters(recurse=False):
            if name.endswith("gamma"):
                parameter.mul_(tensor(numbers.choice((-1.5, 0.3, 0.8, 1.0, 1.3), len(parameter))))
            elif name.endswith("weight"):
                parameter.copy_(tensor(_weights(numbers, tuple(parameter.shape), plan.style)))
            else:
                parameter.copy_(tensor(numbers.integers(-4, 5, len(parameter)) / 4))
    for module in net.modules():
        if isinstance(module, ChannelNorm):
            _scramble_norm(module, numbers, plan, tensor)


def _weights(numbers: np.random.Generator, shape: tuple[int, ...], style: str) -> np.ndarray:
    if style == "dyadic":
        return numbers.integers(-4, 5, shape) / 4
    if style == "constant":
        return np.full(shape, numbers.choice((-0.5, 0.25, 1.0)))
    values = numbers.normal(0, 0.5, shape)
    if style == "sparse":
        values *= numbers.random(shape) < 0.3
        values[numbers.random(shape[0]) < 0.3] = 0.0
    return values


def _scramble_norm(
    norm: ChannelNorm, numbers: np.random.Generator, plan: Plan, tensor: Callable[[np.ndarray], Tensor]
) -> None:
    size = norm.weight.shape[0]
    dyadic = plan.style in ("dyadic", "constant")
    if dyadic:
        norm.eps = 0.0
        gamma = numbers.choice((-2.0, -0.5, 0.25, 0.5, 1.0, 1.0), size)
        beta, mean = numbers.integers(-4, 5, size) / 4, numbers.integers(-8, 9, size) / 2
    else:
        gamma = numbers.normal(0.5, 0.6, size) * (numbers.random(size) > 0.1)
        beta, mean = numbers.normal(0, 0.5, size), numbers.normal(0, 1.0, size)
    if plan.offsets != "usual":
        far = numbers.random(size) < 0.3
        beta = np.where(far, beta * (64.0 if plan.offsets == "large" else 2.0**22), beta)
    usual = numbers.choice((0.25, 1.0, 4.0), size) if dyadic else numbers.uniform(0.2, 3.0, size)
    variance = {
        "one": np.ones(size),
        "usual": usual,
        "tiny": usual * 2.0**-24,
        "huge": usual * 2.0**20,
        "mixed": usual * 2.0 ** (2 * numbers.integers(-8, 8, size)),
    }[plan.variances]
    norm.weight.copy_(tensor(gamma))
    norm.bias.copy_(tensor(beta))
    norm.running_mean.copy_(tensor(mean))
    norm.running_var.copy_(tensor(variance))


def samples_of(plan: Plan, batch: int = 3) -> np.ndarray:
    """uint8 samples that a plan's network takes, the extremes among them."""
    numbers = np.random.default_rng(plan.seed + 2)
    if plan.events:
        return numbers.integers(0, 4, (plan.time_steps, batch, *plan.shape)).astype(np.uint8)
    images = numbers.integers(0, 256, (batch, *plan.shape)).astype(np.uint8)
    images[0] = np.where(numbers.random(plan.shape) < 0.5, 0, 255)
    return images
