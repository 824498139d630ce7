import numpy as np
import pytest
from stdp_samples import assert_same_state, images, small

from bitspike.stdp import StdpBits, StdpConfig, StdpNetwork, evaluate, native
from bitspike.stdp.state import initial_state

WIDTHS = pytest.mark.parametrize(
    "bits", [None, StdpBits(3), StdpBits(8, rounding="nearest")], ids=["float", "3 bits", "8 bits"]
)


@WIDTHS
def test_engine_and_reference_are_one(bits):
    engine = StdpNetwork(small(bits=bits))
    reference = StdpNetwork(small(bits=bits), build="reference")
    pixels = images(6, 49)
    np.testing.assert_array_equal(engine.learn(pixels), reference.learn(pixels))
    np.testing.assert_array_equal(engine.respond(pixels, first=9), reference.respond(pixels, first=9))
    assert_same_state(engine.state, reference.state)
    assert reference.engine == "reference"


def test_the_reference_by_environment(monkeypatch):
    monkeypatch.setenv("BITSPIKE_ENGINE", "reference")
    assert StdpNetwork(small()).engine == "reference"
    monkeypatch.setenv("BITSPIKE_ENGINE", "")
    assert StdpNetwork(small()).engine == next(iter(native.builds()), "reference")


@WIDTHS
def test_learning_in_two_parts_is_learning_in_one(bits):
    pixels = images(20, 49)
    whole, halves = StdpNetwork(small(bits=bits)), StdpNetwork(small(bits=bits))
    counts = whole.learn(pixels)
    np.testing.assert_array_equal(np.concatenate([halves.learn(pixels[:7]), halves.learn(pixels[7:])]), counts)
    assert_same_state(whole.state, halves.state)


@WIDTHS
def test_learning_teaches(bits, spots):
    train, test = spots
    network = StdpNetwork(small(bits=bits))
    network.learn(train.inputs)
    network.assign_labels(train.inputs, train.labels, 3)
    assert evaluate(network, test).accuracy > 0.9


@WIDTHS
def test_responses_change_nothing(bits):
    network = StdpNetwork(small(bits=bits))
    pixels = images(40, 49)
    network.learn(pixels)
    before = network.state.copy()
    first = network.respond(pixels, threads=1)
    np.testing.assert_array_equal(network.respond(pixels, threads=3), first)
    np.testing.assert_array_equal(network.respond(pixels[5:], first=5), first[5:])
    assert_same_state(network.state, before)


def test_weights_keep_their_sum():
    network = StdpNetwork(small())
    network.learn(images(30, 49))
    assert network.state.weights.max() <= 1
    np.testing.assert_allclose(network.state.weights.sum(0), 12.0, rtol=1e-4)


@pytest.mark.parametrize("weight", [1, 4, 16])
def test_a_scale_makes_up_for_the_sum(weight):
    config = small(bits=StdpBits(weight))
    network = StdpNetwork(config)
    network.learn(images(30, 49))
    sums = network.state.weights.sum(0, dtype=np.int64)
    worth = sums * network.state.scale / initial_worth(config)
    assert network.state.weights.max() <= 2**weight - 1
    np.testing.assert_allclose(worth, 1, atol=0.02)


def initial_worth(config: StdpConfig) -> float:
    state = initial_state(config)
    return float(np.median(state.weights.sum(0, dtype=np.int64) * state.scale.astype(np.int64)))


def test_small_updates_vanish_under_truncation_alone():
    """The point of stochastic rounding: an update of a fraction of a level happens by that chance."""
    pixels = images(60, 49)
    changed = {}
    for rounding in ("truncation", "nearest", "stochastic"):
        network = StdpNetwork(small(bits=StdpBits(2, rounding=rounding, slack=4.0)))
        before = network.state.weights.copy()
        network.learn(pixels)
        changed[rounding] = int((network.state.weights != before).sum())
    assert changed["truncation"] == changed["nearest"] == 0
    assert changed["stochastic"] > 20


def test_bad_calls_are_named():
    network = StdpNetwork(small())
    with pytest.raises(ValueError, match="call assign_labels"):
        network.predict(images(2, 49))
    with pytest.raises(ValueError, match="2 images and 3 labels"):
        network.assign_labels(images(2, 49), np.zeros(3, int), 3)
    with pytest.raises(ValueError, match="labels go from 0 to 3; allowed are 0 to 2"):
        network.assign_labels(images(2, 49), np.array([0, 3]), 3)
    with pytest.raises(ValueError, match="no potential passes"):
        StdpNetwork(small(bits=StdpBits(membrane_range=64.0)))


def test_threads_by_environment(monkeypatch):
    network = StdpNetwork(small())
    monkeypatch.setenv("BITSPIKE_THREADS", "0")
    with pytest.raises(ValueError, match="BITSPIKE_THREADS is '0'; allowed: 1 to 256"):
        network.respond(images(2, 49))


def test_an_image_has_a_number(spots):
    """Parts of a data set are classified as in the whole where they say where they begin."""
    network = StdpNetwork(small())
    pixels = spots[0].inputs.reshape(700, -1)[:300]
    network.assign_labels(pixels, spots[0].labels[:300], 3)
    whole = network.predict(pixels)
    parts = [network.predict(pixels[at : at + 1], first=at) for at in range(300)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    again = np.concatenate([network.respond(pixels[at : at + 1]) for at in range(300)])
    assert (again != network.respond(pixels)).any()  # the same images under the number 0
