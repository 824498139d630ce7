import numpy as np
import pytest

from bitspike.stdp.coding import as_inputs, rate_table, spike_train
from bitspike.stdp.config import StdpConfig
from bitspike.stdp.randomness import LEARNING_INPUT, RESPONSE_INPUT, spread, words


def test_random_words_are_those_of_the_package():
    torch = pytest.importorskip("torch")
    from bitspike.integer.threefry import threefry

    counters = [3, 5, np.arange(40), 0]
    wanted = threefry(tuple(torch.as_tensor(np.broadcast_to(c, 40).copy()) for c in counters), (7, 2, 0, 0))
    for word, other in zip(words(7, 2, 3, 5, np.arange(40, dtype=np.uint32)), wanted, strict=True):
        np.testing.assert_array_equal(word.astype(np.int64), other.numpy())


def test_neurons_share_a_word_evenly():
    found = np.sort(spread(12345, np.arange(1000)))
    assert np.diff(found.astype(np.int64)).max() < 2**32 / 1000 * 3


def test_rates():
    config = StdpConfig(inputs=3, steps=4000, intensity=100.0, norm=1.0)
    train = spike_train(config, np.array([0, 255, 127], np.uint8), 0, LEARNING_INPUT)
    np.testing.assert_allclose(train.mean(0), [0, 0.1, 0.0498], atol=0.012)
    assert rate_table(config)[255] == 6554


def test_a_train_depends_on_its_number_alone():
    config = StdpConfig(inputs=20, steps=17, norm=2.0, intensity=500.0)
    pixels = np.full(20, 200, np.uint8)
    one = spike_train(config, pixels, 4, LEARNING_INPUT)
    np.testing.assert_array_equal(one, spike_train(config, pixels, 4, LEARNING_INPUT))
    assert (one != spike_train(config, pixels, 5, LEARNING_INPUT)).any()
    assert (one != spike_train(config, pixels, 4, RESPONSE_INPUT)).any()
    shorter = StdpConfig(inputs=20, steps=9, norm=2.0, intensity=500.0)
    np.testing.assert_array_equal(one[:9], spike_train(shorter, pixels, 4, LEARNING_INPUT))


def test_images_out_of_range_are_refused():
    assert as_inputs(np.zeros((2, 1, 2, 2), np.int64), 4).dtype == np.uint8
    assert as_inputs(np.zeros(4, np.uint8), 4).shape == (1, 4)
    with pytest.raises(ValueError, match="pixels go from 0 to 256; allowed are 0 to 255"):
        as_inputs(np.array([[0, 256]]), 2)
    with pytest.raises(ValueError, match="pixels go from -1"):
        as_inputs(np.array([[0, -1]]), 2)
    with pytest.raises(TypeError, match="float64; give whole numbers"):
        as_inputs(np.zeros((1, 2)), 2)
    with pytest.raises(ValueError, match=r"the network takes \[B, ...\] with 5 pixels"):
        as_inputs(np.zeros((2, 4), np.uint8), 5)
