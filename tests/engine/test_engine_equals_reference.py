"""The engine computes what the reference computes: every value, membrane and logit, in every setting and order.

BITSPIKE_ENGINE_EXAMPLES=N tries N random networks of each kind instead of a few.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from same_as_reference import compare, every_setting

from bitspike import lower
from bitspike.engine import KERNELS, Engine, builds
from bitspike.integer import graph as g
from bitspike.integer.check import check
from bitspike.runtime.reference import Reference
from strategies import Plan, RandomNet, plans, samples_of
from varied_graphs import varied_graph, varied_samples, varied_weight

pytestmark = [
    pytest.mark.skipif(not builds(), reason="no engine was built; make engine shows why"),
    pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning"),
]
EXAMPLES = int(os.environ.get("BITSPIKE_ENGINE_EXAMPLES", "0"))


@settings(max_examples=EXAMPLES or 80)
@given(plans())
def test_lowered_networks(plan: Plan) -> None:
    try:
        graph = lower(RandomNet(plan).eval()).graph
    except ValueError as error:
        assert "32 bits" in str(error)
        event("refused")
        return
    compare(graph, every_setting(graph, plan.seed), samples_of(plan))


@settings(max_examples=EXAMPLES or 100)
@given(st.integers(0, 2**32 - 1))
def test_networks_of_everything(seed: int) -> None:
    graph = varied_graph(seed)
    compare(graph, every_setting(graph, seed), varied_samples(graph, 1 + seed % 4, seed))


def test_networks_of_everything_vary():
    """What the random networks are made for does come up, and they fire without being saturated."""
    seen: set[str] = set()
    for seed in range(150):
        graph = varied_graph(seed)
        found = Reference(graph).run(varied_samples(graph, 2, seed), membranes=False)
        for node in graph.spiking:
            rate = (found.values[node.name] != 0).mean()
            seen |= {"fires"} if 0.05 < rate < 0.7 else set()
            seen |= {type(node.skip).__name__, node.fire.reset, f"{node.operator.weight.bits} bits"}
            seen |= {node.operator.weight.grid, f"membrane {node.fire.levels.bit_length() + 1}"}
            seen |= {"stochastic"} if node.fire.stochastic else set()
            if isinstance(node.skip, g.PlainSkip) and node.skip.bound > 1 and found.values[node.skip.source].max() > 1:
                seen.add("counts join")
            if isinstance(node.operator, g.Convolution):
                (kernel, _), (stride, _), (padding, _) = (
                    node.operator.weight.shape[2:],
                    node.operator.stride,
                    node.operator.padding,
                )
                seen |= {f"stride {stride}", "large stride" if stride > kernel else "small stride"}
                seen |= {"large padding"} if padding > kernel // 2 else set()
                pooled = node.operator.largest
                seen |= {"every sum"} if pooled is None else {f"of {pooled.kernel[1]}", f"by {pooled.stride[1]}"}
        seen |= {"open"} if graph.input.time_steps is None else set()
    wanted = {"fires", "NoneType", "PlainSkip", "WeightedSkip", "hard", "soft", "stochastic", "counts join", "open"}
    wanted |= {f"{bits} bits" for bits in range(1, 9)} | {f"membrane {bits}" for bits in (2, 3, 4, 5, 8, 11, 16)}
    wanted |= {"every sum", *(f"of {wide}" for wide in range(1, 6)), *(f"by {wide}" for wide in range(1, 6))}
    wanted |= {"binary", "odd", "signed", "stride 1", "stride 2", "stride 3", "large stride", "large padding"}
    assert wanted - seen == set()


def fire(numbers: np.random.Generator, channels: int, typical: int, **changes: object) -> g.Fire:
    """A membrane of 4 bits whose thresholds lie about the sums."""
    values = {
        "threshold": numbers.integers(-typical // 2, typical + 1, (channels, 1)).astype(np.int32),
        "rounding": np.full((channels, 1), 2, np.int32),
        "rounding_fired": None,
        "shift": numbers.integers(0, 3, channels).astype(np.int32),
        "leak": 1,
        "leak_exponent": 1,
        "g": 2,
        "levels": 7,
        "reset": "hard",
        "stochastic": False,
        "seed": 7,
        "stream": 1,
    }
    return g.Fire(**(values | changes))  # type: ignore[arg-type]


def channel_graph(
    channels: int,
    size: tuple[int, int],
    *,
    bits: int = 1,
    stochastic: bool = False,
    channel_map: tuple[int, ...] | None = None,
) -> g.Graph:
    """Convolutions to so many channels, the second with a skip, a sum pool, and a dense layer that reads counts."""
    numbers = np.random.default_rng(channels)
    first = g.Convolution(varied_weight(numbers, (channels, 2, 3, 3), bits), (1, 1), (1, 1))
    second = g.Convolution(varied_weight(numbers, (channels, channels, 1, 3), bits), (1, 1), (0, 1))
    joined = fire(numbers, channels, 8)
    table = np.concatenate([joined.threshold, joined.threshold - 5], 1)
    second_fire = fire(
        numbers,
        channels,
        8,
        threshold=table,
        rounding=np.repeat(joined.rounding, 2, 1) + np.array([[0, 3]], np.int32),
        stochastic=stochastic,
    )
    window = tuple(min(2, side) for side in size)
    pooled = [(side - part) // 1 + 1 for side, part in zip(size, window, strict=True)]
    features = channels * pooled[0] * pooled[1]
    outputs = channels + 2
    return g.Graph(
        (
            g.Input("input", "events", (2, *size), None, (0, 0), 3, 1.0),
            g.Spiking("first", "input", first, fire(numbers, channels, 12), None),
            g.Spiking("second", "first", second, second_fire, g.PlainSkip("first", 1, channel_map, 1)),
            g.Pool("pool", "second", "sum", (window[0], window[1]), (1, 1)),
            g.Flatten("flat", "pool"),
            g.Spiking(
                "dense",
                "flat",
                g.Dense(varied_weight(numbers, (outputs, features), bits)),
                fire(numbers, outputs, 20, reset="soft", rounding_fired=np.full((outputs, 1), -9, np.int32)),
                None,
            ),
            g.Readout("readout", "dense", varied_weight(numbers, (5, outputs), 4), np.zeros(5, np.int32), 1.0, 4),
        )
    )


@pytest.mark.parametrize("channels", [1, 63, 64, 65, 129, 257, 513])
@pytest.mark.parametrize(("size", "bits"), [((1, 1), 1), ((2, 5), 1), ((3, 2), 3)])
def test_odd_numbers_of_channels(channels: int, size: tuple[int, int], bits: int) -> None:
    graph = channel_graph(channels, size, bits=bits)
    check(graph)
    compare(graph, every_setting(graph, channels), varied_samples(graph, 2, channels))


@pytest.mark.parametrize("channels", [31, 65])
def test_random_rounding_of_many_channels(channels: int) -> None:
    graph = channel_graph(channels, (3, 4), stochastic=True)
    compare(graph, every_setting(graph, channels), varied_samples(graph, 2, channels))


@pytest.mark.parametrize("channels", [5, 32, 33, 64, 65, 130, 257, 513])
def test_skips_that_drop_repeat_and_reorder_many_channels(channels: int) -> None:
    drawn = np.random.default_rng(channels).integers(-1, channels, channels)
    graph = channel_graph(channels, (3, 4), channel_map=tuple(drawn.tolist()))
    check(graph)
    compare(graph, every_setting(graph, channels), varied_samples(graph, 2, channels))


def test_open_time_steps_from_call_to_call():
    """One engine, another number of steps at every call, and back again."""
    graph = channel_graph(33, (3, 4))
    reference = Reference(graph)
    for build in builds():
        engine = Engine(graph, build=build)
        for call, steps in enumerate((3, 1, 7, 2, 65, 4, 3, 5, 1, 7, 6, 65)):
            samples = varied_samples(graph, 1 + call % 3, call, steps)
            expected = reference.run(samples)
            assert np.array_equal(engine.predict(samples), expected.logits)
            found = engine.run(samples)
            for name, array in expected.values.items():
                assert np.array_equal(found.values[name], array), (build, steps, name)


@pytest.mark.parametrize("bits", [1, 8, 12, 15, 16])
def test_sums_of_pixels_beyond_what_floats_hold(bits: int) -> None:
    """Sums above 2^24, where single precision would round; every third pixel is at its extreme."""
    numbers = np.random.default_rng(bits)
    shape, channels = (3, 12, 12), 5
    codes = np.full((channels, shape[0], 7, 7), 2 ** (bits - 1) - 1 if bits > 1 else 1, np.int32)
    codes -= 2 * codes * numbers.integers(0, 2, codes.shape)
    codes[0] = np.abs(codes[0])  # one channel whose sum is the largest there is
    codes[1] -= (bits > 1) * numbers.integers(0, 2, codes[1].shape)
    operator = g.Convolution(codes, (1, 1), (3, 3))
    largest = int(np.abs(codes.astype(np.int64)).reshape(channels, -1).sum(1).max()) * 255
    spread = numbers.integers(-largest // 4, largest, (channels, 1)).astype(np.int32)
    membranes = fire(numbers, channels, 1, threshold=spread, shift=np.zeros(channels, np.int32), g=14, levels=2**15 - 1)
    readout = varied_weight(numbers, (3, channels * 144), 2)
    graph = g.Graph(
        (
            g.Input("input", "image", shape, 3, (0, 128, 3), 255, 1.0),
            g.Spiking("conv", "input", operator, membranes, None),
            g.Flatten("flat", "conv"),
            g.Readout("readout", "flat", readout, np.zeros(3, np.int32), 1.0, 3),
        )
    )
    check(graph)
    samples = varied_samples(graph, 3, bits)
    samples[0] = 255
    samples[1, :, ::3] = 255
    assert (largest > 2**24) == (bits >= 12)
    compare(graph, every_setting(graph, bits), samples)


def test_a_readout_of_pixels_and_a_skip_of_counts_from_the_input():
    """No spikes between input and readout; and pixels that choose a column of the tables."""
    numbers = np.random.default_rng(3)
    entry = g.Input("input", "events", (2, 3, 3), None, (0, 0), 9, 1.0)
    weight = varied_weight(numbers, (4, 18), 5)
    last = g.Readout("readout", "flat", weight, np.zeros(4, np.int32), 1.0, 4)
    pixels = g.Graph((entry, g.Flatten("flat", "input"), last))
    columns = numbers.integers(-60, 60, (2, 10)).astype(np.int32)
    layer = g.Spiking(
        "conv",
        "input",
        g.Convolution(varied_weight(numbers, (2, 2, 3, 3), 2), (1, 1), (1, 1)),
        fire(numbers, 2, 1, threshold=columns, rounding=columns // 3),
        g.PlainSkip("input", 1, (1, 0), 9),
    )
    joined = g.Graph((entry, layer, g.Flatten("flat", "conv"), last))
    for graph in (pixels, joined):
        check(graph)
        compare(graph, every_setting(graph, 0), varied_samples(graph, 3, 1))


@pytest.mark.parametrize("zero", [0, 3])
def test_pixels_of_few_bits(zero: int) -> None:
    """An image whose pixels end at 15, which is as far as the columns of the skip's tables go."""
    numbers = np.random.default_rng(zero)
    entry = g.Input("input", "image", (2, 3, 5), 2, (zero, zero), 15, 1.0)
    columns = numbers.integers(-60, 60, (2, 16)).astype(np.int32)
    operator = g.Convolution(varied_weight(numbers, (2, 2, 3, 3), 2), (1, 1), (1, 1))
    skip = None if zero else g.PlainSkip("input", 1, (1, 0), 15)
    tables = columns if skip else columns[:, :1]
    layer = g.Spiking("conv", "input", operator, fire(numbers, 2, 1, threshold=tables, rounding=tables // 3), skip)
    readout = g.Readout("readout", "flat", varied_weight(numbers, (3, 30), 3), np.zeros(3, np.int32), 1.0, 2)
    graph = g.Graph((entry, layer, g.Flatten("flat", "conv"), readout))
    check(graph)
    compare(graph, every_setting(graph, 0), varied_samples(graph, 4, 1))


def test_sums_that_only_their_weights_bound() -> None:
    """Counts up to 65536 and one weight of 255 among ones: the sums fit 32 bits, inputs times 255 do not."""
    numbers = np.random.default_rng(0)
    channels, pools = 140, 8
    first = g.Convolution(np.ones((channels, 1, 1, 1), np.int8), (1, 1), (0, 0))
    low = fire(numbers, channels, 1, threshold=np.full((channels, 1), -1, np.int32))
    nodes: list[g.Node] = [
        g.Input("input", "events", (1, 9, 9), 2, (0,), 1, 1.0),
        g.Spiking("first", "input", first, low, None),
    ]
    for number in range(pools):  # windows of 2 x 2 that overlap: four times the count each, down to one place
        nodes.append(g.Pool(f"pool{number}", nodes[-1].name, "sum", (2, 2), (1, 1)))
    codes = numbers.choice((-1, 1), (7, channels)).astype(np.int16)
    codes[0], codes[:, 0] = 1, 255
    sums = codes.sum(1, dtype=np.int32, keepdims=True) << 2 * pools
    spread = sums + np.array([[-1], [0], [1]] * 2 + [[5]], np.int32)  # one fires, the next does not
    still = fire(numbers, 7, 1, threshold=spread, shift=np.zeros(7, np.int32))
    nodes += [
        g.Flatten("flat", nodes[-1].name),
        g.Spiking("dense", "flat", g.Dense(codes), still, None),  # type: ignore[arg-type]
        g.Readout("readout", "dense", varied_weight(numbers, (3, 7), 3), np.zeros(3, np.int32), 1.0, 2),
    ]
    graph = g.Graph(tuple(nodes))
    check(graph)
    assert channels * 4**pools * 255 > 2**31
    compare(graph, every_setting(graph, 0), varied_samples(graph, 2, 1))


def test_a_difference_is_named():
    """The comparison fails, and says where, for an engine of a network with one other threshold."""
    graph = channel_graph(5, (3, 4))
    layer = graph.nodes[1]
    assert isinstance(layer, g.Spiking)
    table = layer.fire.threshold.copy()
    table[2] = 2**31 - 1
    other = g.Spiking(
        layer.name, layer.source, layer.operator, g.Fire(**(vars(layer.fire) | {"threshold": table})), None
    )
    engine = Engine(g.Graph((graph.nodes[0], other, *graph.nodes[2:])))
    with pytest.raises(AssertionError, match=r"auto.*value of first differs at \d+ of 480 places.*0 instead of 1"):
        compare(graph, iter([engine]), np.full((2, 4, 2, 3, 4), 3, np.uint8))


def test_every_kernel_is_there():
    assert KERNELS == ("auto", "planes", "dense", "lanes")
