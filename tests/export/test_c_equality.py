"""The exported C computes what integer/ops.py defines: zero differences, on whatever can be lowered."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from compiled_reference import assert_equal, need_compiler
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitspike import IntegerNet, lower
from bitspike.export import CompiledNet
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    Largest,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
)
from bitspike.integer.weight import Weight
from bitspike.model import create_model
from networks import EventNet, ImageNet, events, images, settle_
from strategies import RandomNet, plans, samples_of

pytestmark = pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")


@pytest.fixture(scope="module", autouse=True)
def compiler():
    return need_compiler()


@settings(max_examples=70)
@given(plans(), st.booleans())
def test_random_networks(plan, reuse_input):
    try:
        net = lower(RandomNet(plan).eval())
    except ValueError as error:
        assume("32 bits" not in str(error))  # refused by name, as it should be
        raise
    assert_equal(net, samples_of(plan), reuse_input=reuse_input, optimize="-O1")


def fire(channels, columns=1, seed=0, **changes):
    """A layer whose channels differ: thresholds, rounding and shifts drawn from a seed."""
    numbers = np.random.default_rng(seed)
    fields = {
        "threshold": numbers.integers(-4, 20, (channels, columns)).astype(np.int32),
        "rounding": numbers.integers(-3, 4, (channels, columns)).astype(np.int32),
        "rounding_fired": None,
        "shift": numbers.integers(0, 3, channels).astype(np.uint8),
        "leak": 3,
        "leak_exponent": 2,
        "g": 3,
        "levels": 7,
        "reset": "hard",
        "stochastic": False,
        "seed": 9,
        "stream": 2,
    }
    return Fire(**(fields | changes))


def codes(shape, low=-1, high=1, seed=0):
    """Codes of a grid: odd numbers where both ends are odd and `low` is -high, else all."""
    numbers = np.random.default_rng(seed)
    if low == -high and high % 2:
        return Weight.of(numbers.choice(np.arange(low, high + 1, 2), shape))
    return Weight.of(numbers.integers(low, high + 1, shape))


def readout(source, features, steps=2):
    return Readout("readout", source, codes((3, features), -9, 8), np.arange(3, dtype=np.int32), 0.5, steps)


@pytest.mark.parametrize("channels", [1, 31, 63, 64, 65, 513])
@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-7, 7), (-9, 8)], ids=["binary", "odd", "signed"])
def test_odd_channel_counts_windows_strides_and_paddings(channels, low, high):
    wide = Convolution(codes((channels, 3, 2, 3), low, high), (1, 2), (1, 0))  # 3 x 5 becomes 4 x 2
    narrow = Convolution(codes((33, channels, 2, 1), low, high), (2, 1), (0, 1))  # then 2 x 4
    graph = Graph(
        (
            Input("input", "events", (3, 3, 5), 2, (0, 0, 0), 5, 1.0),
            Spiking("wide", "input", wide, fire(channels), None),
            Spiking("narrow", "wide", narrow, fire(33, seed=1), None),
            Flatten("flat", "narrow"),
            readout("flat", 33 * 2 * 4),
        )
    )
    samples = np.random.default_rng(1).integers(0, 6, (2, 2, 3, 3, 5)).astype(np.uint8)
    record = assert_equal(IntegerNet(graph), samples)
    assert 0 < record.values["wide"].mean() < 1


@pytest.mark.parametrize("bits", [1, 2, 3, 5, 8, 12, 16])
def test_signed_weights_of_all_widths_on_signed_values(bits):
    numbers = np.random.default_rng(bits)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    drawn = numbers.integers(low, high + 1, (5, 2, 3, 3))
    drawn.reshape(-1)[:2] = low, high
    reach = 9 * 255 << bits
    layer = fire(5, threshold=numbers.integers(-reach, reach, (5, 1)).astype(np.int32), levels=127, g=10)
    graph = Graph(
        (
            Input("input", "image", (2, 5, 5), 3, (0, 200), 255, 1.0),
            Spiking("first", "input", Convolution(Weight.of(drawn), (1, 1), (1, 1)), layer, None),
            Flatten("flat", "first"),
            readout("flat", 125, steps=3),
        )
    )
    assert graph.spiking[0].operator.weight.bits == bits
    samples = numbers.integers(0, 256, (4, 2, 5, 5)).astype(np.uint8)
    for reuse_input in (False, True):
        assert_equal(IntegerNet(graph), samples, reuse_input=reuse_input)


@pytest.mark.parametrize("bits", [3, 8], ids=["counted", "multiplied"])
@pytest.mark.parametrize("reuse_input", [False, True])
def test_the_largest_of_rectangular_windows(bits, reuse_input):
    """On pixels (8-bit weights are multiplied there, and sums may be kept), then on spikes of more than 32 channels."""
    numbers = np.random.default_rng(bits)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    drawn = numbers.integers(low, high + 1, (33, 2, 2, 2))
    drawn.reshape(-1)[:2] = low, high
    reach = 2 * 255 << bits
    layer = fire(33, threshold=numbers.integers(0, reach, (33, 1)).astype(np.int32), levels=127, g=10)
    first = Convolution(Weight.of(drawn), (1, 2), (1, 0), Largest((3, 2), (2, 1)))  # 7 x 8 becomes 8 x 4, then 3 x 3
    second = Convolution(codes((40, 33, 1, 2)), (1, 1), (0, 0), Largest((1, 2), (3, 1)))  # 3 x 2, then 1 x 1
    graph = Graph(
        (
            Input("input", "image", (2, 7, 8), 3, (0, 200), 255, 1.0),
            Spiking("first", "input", first, layer, None),
            Spiking("second", "first", second, fire(40, seed=3), None),
            Flatten("flat", "second"),
            readout("flat", 40, steps=3),
        )
    )
    samples = numbers.integers(0, 256, (4, 2, 7, 8)).astype(np.uint8)
    record = assert_equal(IntegerNet(graph), samples, reuse_input=reuse_input)
    assert all(0.02 < record.values[name].mean() < 0.98 for name in ("first", "second"))


def mixed_graph(kind):
    """Pools of pixels and of counts, both skips of values beyond 0 and 1, features with skips from a flattened map."""
    image = kind == "image"
    entry = Input("input", kind, (2, 8, 8), 4, (90, 0) if image else (0, 0), 255 if image else 9, 1.0)
    soft = {"rounding_fired": np.full((3, 1), -30, np.int32), "reset": "soft", "stochastic": True}
    first = fire(3, g=6, levels=32767, leak=60, leak_exponent=6, **soft)
    side = WeightedSkip("small", Convolution(codes((3, 2, 1, 1), -7, 7), (1, 1), (0, 0)), np.array([2, 0, 1], np.uint8))
    mapped = tuple(int(at) for at in np.random.default_rng(4).integers(-1, 12, 40))
    return Graph(
        (
            entry,
            Pool("largest", "input", "max", (3, 3), (2, 2), (1, 1)),
            Pool("small", "largest", "sum", (2, 2), (1, 1)),
            Spiking("first", "small", Convolution(codes((3, 2, 3, 3)), (1, 1), (1, 1)), first, side),
            Pool("counts", "first", "sum", (2, 2), (1, 1)),
            Pool("most", "counts", "max", None, None),
            Flatten("unread", "most"),
            Spiking(
                "second",
                "counts",
                Convolution(codes((3, 3, 3, 3), -9, 8), (2, 2), (1, 1)),
                fire(3, 5, seed=3),
                PlainSkip("counts", 2, (2, -1, 0), 4),
            ),
            Flatten("flat", "counts"),
            Spiking("mapped", "flat", Dense(codes((40, 12), -3, 3)), fire(40, 5), PlainSkip("flat", 1, mapped, 4)),
            Spiking("same", "flat", Dense(codes((12, 12), -3, 3)), fire(12, 5), PlainSkip("flat", 1, None, 4)),
            Spiking("joined", "same", Dense(codes((40, 12))), fire(40, 2), PlainSkip("mapped", 1, None, 1)),
            readout("joined", 40, steps=4),
        )
    )


@pytest.mark.parametrize("kind", ["image", "events"])
@pytest.mark.parametrize("reuse_input", [False, True])
def test_pools_skips_and_features(kind, reuse_input):
    graph = mixed_graph(kind)
    shape = (3, 2, 8, 8) if kind == "image" else (4, 3, 2, 8, 8)
    samples = np.random.default_rng(2).integers(0, graph.input.bound + 1, shape).astype(np.uint8)
    record = assert_equal(IntegerNet(graph), samples, reuse_input=reuse_input)
    assert all(0 < record.values[node.name].mean() < 1 for node in graph.spiking)
    assert np.abs(record.values["largest"]).max() > 1


def test_a_readout_of_pixels_and_a_single_step():
    graph = Graph(
        (
            Input("input", "image", (2, 3, 3), 1, (7, 255), 255, 1.0),
            Flatten("flat", "input"),
            readout("flat", 18, steps=1),
        )
    )
    samples = np.random.default_rng(2).integers(0, 256, (5, 2, 3, 3)).astype(np.uint8)
    assert_equal(IntegerNet(graph), samples, reuse_input=True)


@pytest.mark.parametrize("name", ["small8", "small_touch", "vggsnn", "resnet19", "resnet20"])
def test_models_of_the_registry(name):
    options = {
        "vggsnn": {"input_shape": (2, 16, 16)},
        "resnet19": {"input_shape": (3, 8, 8)},
        "resnet20": {"input_shape": (3, 8, 8), "first": 16, "widths": (16, 32, 64)},
    }
    net = create_model(name, spec="1w2u", time_steps=2, **options.get(name, {}))
    settle_(net)
    integers = lower(net.eval())
    entry = integers.graph.input
    numbers = np.random.default_rng(0)
    if entry.kind == "image":
        samples = numbers.integers(0, 256, (1, *entry.shape)).astype(np.uint8)
    else:
        samples = numbers.integers(0, 3, (2, 1, *entry.shape)).astype(np.uint8)
    record = assert_equal(integers, samples)
    assert any(0 < record.values[node.name].mean() < 1 for node in integers.graph.spiking)


def test_streams_of_any_length():
    net = lower(EventNet(time_steps=None, bias=False).eval())
    compiled = CompiledNet(net)
    for steps in (1, 5):
        samples = events(steps).numpy()
        assert np.array_equal(compiled.predict(samples), net.predict(samples))


def test_samples_do_not_leave_traces():
    net = lower(ImageNet("2w4u").eval())
    compiled = CompiledNet(net, reuse_input=True)
    samples = images(6).numpy()
    first = compiled.run(samples)
    again = compiled.run(samples[::-1])
    assert np.array_equal(first.logits, again.logits[::-1])
    assert np.array_equal(first.membranes["second"], again.membranes["second"][:, ::-1])


def test_threads_do_not_disturb_each_other():
    net = lower(ImageNet("1w2u").eval())
    compiled = CompiledNet(net)
    batches = [images(40, seed=seed).numpy() for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(compiled.run, batches))
    for samples, record in zip(batches, found, strict=True):
        assert np.array_equal(record.logits, net.predict(samples))
        assert np.array_equal(record.values["second"], net.spikes(samples)["second"])


def test_wrong_input_is_refused_like_the_network_s_own():
    net = lower(EventNet().eval())
    compiled = CompiledNet(net)
    for samples, error in (
        (np.zeros((3, 1, 2, 4, 4)), TypeError),
        (np.zeros((3, 1, 2, 4, 5), np.uint8), ValueError),
        (np.zeros((2, 1, 2, 4, 4), np.uint8), ValueError),
        (np.full((3, 1, 2, 4, 4), 4, np.uint8), ValueError),
    ):
        for run in (net.predict, compiled.predict):
            with pytest.raises(error, match="the network takes"):
                run(samples)
    assert compiled.predict(np.zeros((3, 0, 2, 4, 4), np.uint8)).shape == (0, 3)


def test_a_compiler_that_is_not_there_or_fails_is_named(tmp_path):
    net = lower(EventNet().eval())
    with pytest.raises(FileNotFoundError, match="the C compiler no-such-cc is not installed; install gcc"):
        CompiledNet(net, "no-such-cc")
    broken = tmp_path / "broken-cc"
    broken.write_text("#!/bin/sh\necho no licence >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(RuntimeError, match="broken-cc failed with exit code 3: no licence"):
        CompiledNet(net, str(broken))
