import copy

import numpy as np
import pytest

from bitspike import lower
from bitspike.runtime.state import fingerprint
from networks import EventNet, ImageNet, events, images


@pytest.fixture(scope="module")
def image_net():
    return lower(ImageNet())


@pytest.fixture(scope="module")
def event_net():
    return lower(EventNet())


def test_predict_gives_integer_logits(image_net):
    logits = image_net.predict(images(5).numpy())
    assert (logits.shape, logits.dtype) == ((5, 4), np.int64)
    assert len({tuple(row) for row in logits.tolist()}) == 5
    sums = image_net.spikes(images(5).numpy())["readout"].sum(0) + image_net.graph.readout.bias
    assert np.array_equal(sums, logits)


def test_samples_in_any_memory_and_of_any_number(image_net, event_net):
    samples = images(6).numpy()
    answer = image_net.predict(samples)
    assert np.array_equal(image_net.predict(np.asfortranarray(samples)), answer)
    assert np.array_equal(image_net.predict(samples[::-2]), answer[::-2])
    assert np.array_equal(image_net.predict(samples[:1]), answer[:1])
    assert image_net.predict(samples[:0]).shape == (0, 4)
    assert np.array_equal(event_net.predict(events().numpy()[:, 1:2]), event_net.predict(events().numpy())[1:2])
    frozen = samples.copy()
    frozen.setflags(write=False)
    assert np.array_equal(copy.deepcopy(image_net).predict(frozen), answer)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.zeros((1, 2, 6, 6)), TypeError, r"the input has dtype float64; the network takes uint8 \[B, C, H, W\]"),
        (np.zeros((1, 2, 6, 5), np.uint8), ValueError, r"shape \[1, 2, 6, 5\].*\[C, H, W\] = \[2, 6, 6\]"),
        (np.zeros((2, 6, 6), np.uint8), ValueError, r"shape \[2, 6, 6\]"),
        (np.zeros((3, 1, 2, 6, 6), np.uint8), ValueError, r"shape \[3, 1, 2, 6, 6\]"),
    ],
)
def test_wrong_images(image_net, samples, error, message):
    with pytest.raises(error, match=message):
        image_net.predict(samples)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 1, 2, 4, 4), np.uint8), "has 2 time steps; the network takes 3$"),
        (np.zeros((2, 3, 2, 4, 4), np.uint8), r"the network takes 3; time comes first.*np\.moveaxis\(samples, 1, 0\)"),
        (np.zeros((0, 1, 2, 4, 4), np.uint8), "has no time steps"),
        (np.full((3, 1, 2, 4, 4), 4, np.uint8), "counts up to 4; the network takes at most 3"),
        (np.zeros((3, 2, 4, 4), np.uint8), r"takes \[T, B, C, H, W\]"),
    ],
)
def test_wrong_events(event_net, samples, message):
    with pytest.raises(ValueError, match=message):
        event_net.predict(samples)


def test_wrong_steps(event_net):
    state = event_net.state()
    with pytest.raises(ValueError, match=r"one step has shape \[3, 4, 2, 4, 4\]; the network takes \[B, C, H, W\]"):
        event_net.step(events().numpy(), state)
    event_net.step(events(1, 1).numpy()[0], state)
    with pytest.raises(ValueError, match="one step has 4 samples; this state was begun with 1"):
        event_net.step(events().numpy()[0], state)
    assert state.steps == 1


def test_streams_do_not_disturb_each_other(event_net):
    frames = events().numpy()
    one, two = event_net.state(), event_net.state()
    for t in range(3):
        first = event_net.step(frames[t], one)
        second = event_net.step(frames[t][::-1], two)
    answer = event_net.predict(frames)
    assert np.array_equal(first, answer)
    assert np.array_equal(second, answer[::-1])


def test_graph_needs_its_ends():
    from bitspike.integer.graph import Graph

    nodes = lower(EventNet()).graph.nodes
    with pytest.raises(ValueError, match="starts with its input, here it starts with conv"):
        _ = Graph(nodes[1:]).input
    with pytest.raises(ValueError, match="ends with its readout, here it ends with flatten"):
        _ = Graph(nodes[:-1]).readout


def test_a_stream_ends_after_its_time_steps_and_belongs_to_one_network():
    net, other = lower(ImageNet("1w2u").eval()), lower(ImageNet("1w2u").eval())
    samples = np.zeros((1, *net.graph.input.shape), dtype=np.uint8)
    state = net.state()
    for _ in range(net.graph.input.time_steps):
        net.step(samples, state)
    with pytest.raises(ValueError, match="answers after 3 steps, which are done"):
        net.step(samples, state)
    for wrong in (other.state(), None):
        with pytest.raises(ValueError, match="not one of this network"):
            net.step(samples, wrong)


def test_it_prints_in_a_line():
    assert repr(lower(ImageNet("1w2u"))) == "IntegerNet(image [2, 6, 6], 3 steps, 2 spiking layers, 4 classes)"


def test_only_modules_are_lowered():
    with pytest.raises(TypeError, match="a network is a torch module built from blocks, not str"):
        lower("model.safetensors")


def test_networks_and_nodes_are_equal_to_themselves_alone():
    one, two = lower(ImageNet()), lower(ImageNet())
    assert one in [one] and one != two
    assert one.graph in [one.graph] and one.graph != two.graph
    for first, second in zip(one.graph.nodes, two.graph.nodes, strict=True):
        assert isinstance(first == second, bool)
    assert two in [one, two] and len({one, two, one}) == 2
    assert len({one.graph, two.graph}) == 2
    assert fingerprint(one.graph) == fingerprint(two.graph)
