"""The engine computes what the definition says: integers bit for bit, float32 too, on every build."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stdp_samples import assert_same_state, images, reference, small

from bitspike.stdp import native
from bitspike.stdp.config import StdpBits, StdpConfig
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.state import initial_state

pytestmark = pytest.mark.skipif(not native.builds(), reason="no engine was built")
settings.register_profile("stdp", deadline=None, suppress_health_check=list(HealthCheck), max_examples=25)


@st.composite
def configs(draw, quantized: bool) -> StdpConfig:
    bits = None
    if quantized:
        membrane = draw(st.integers(6, 16))
        membrane_range = draw(st.sampled_from([64.0, 256.0, 1024.0]))
        bits = StdpBits(
            weight=draw(st.sampled_from([1, 2, 3, 4, 5, 6, 8, 12, 16])),
            membrane=membrane,
            threshold=draw(st.integers(6, 16)),
            trace=draw(st.integers(2, 8)),
            scale=draw(st.integers(8, 16)),
            rounding=draw(st.sampled_from(["truncation", "nearest", "stochastic"])),
            membrane_range=membrane_range,
            threshold_range=draw(st.sampled_from([16.0, 64.0])),
            ceiling=draw(st.sampled_from([0.25, 1.0])),
            slack=draw(st.sampled_from([1.0, 1.5])),
        )
    inputs = draw(st.integers(1, 70))
    return small(
        inputs=inputs,
        neurons=draw(st.integers(1, 70)),
        steps=draw(st.integers(1, 40)),
        norm=draw(st.floats(0.1, 0.9)) * inputs,
        topology=draw(st.sampled_from(["direct", "two-population"])),
        winner=draw(st.sampled_from(["lowest", "strongest"])),
        seed=draw(st.integers(0, 2**32 - 1)),
        intensity=draw(st.sampled_from([100.0, 600.0, 1000.0])),
        refractory=draw(st.sampled_from([0.0, 1.0, 5.0])),
        inhibitory_refractory=0.0,
        inhibition=draw(st.sampled_from([0.0, 17.5, 120.0, 5000.0])),
        rate_pre=draw(st.sampled_from([0.0, 1e-4, 0.05])),
        rate_post=draw(st.sampled_from([1e-2, 0.3])),
        theta_tau=draw(st.sampled_from([1e7, 1e3])),
        bits=bits,
    )


def _check(config: StdpConfig, seed: int, build: str) -> None:
    if config.bits is not None:
        try:
            integer_constants(config)
        except ValueError:
            return
    pixels = images(4, config.inputs, seed)
    numbers = np.array([3, 1, 7, 2**32 - 1], np.uint32)
    defined, engine = initial_state(config), initial_state(config)
    wanted = reference(config, defined, pixels, numbers, learn=True)
    found = native.present(config, engine, numbers=numbers, learn=True, pixels=pixels, build=build)
    np.testing.assert_array_equal(found, wanted)
    assert_same_state(engine, defined)
    wanted = reference(config, defined, pixels, numbers, learn=False)
    found = native.present(config, engine, numbers=numbers, learn=False, pixels=pixels, build=build)
    np.testing.assert_array_equal(found, wanted)
    assert_same_state(engine, defined)


@pytest.mark.parametrize("build", native.builds())
@settings(settings.get_profile("stdp"))
@given(config=configs(quantized=True), seed=st.integers(0, 100))
def test_integers(build, config, seed):
    _check(config, seed, build)


@pytest.mark.parametrize("build", native.builds())
@settings(settings.get_profile("stdp"))
@given(config=configs(quantized=False), seed=st.integers(0, 100))
def test_floats(build, config, seed):
    _check(config, seed, build)


@pytest.mark.parametrize("bits", [None, StdpBits(4), StdpBits(16)], ids=["float", "4 bits", "16 bits"])
def test_given_spikes(bits):
    config = small(bits=bits)
    trains = np.random.default_rng(1).random((3, config.steps, config.inputs)) < 0.2
    from bitspike.stdp import floating, integers

    defined, engine = initial_state(config), initial_state(config)
    wanted = [
        floating.present(config, defined, train, learn=True)
        if bits is None
        else integers.present(config, defined, train, number, learn=True)
        for number, train in enumerate(trains)
    ]
    found = native.present(config, engine, numbers=[0, 1, 2], learn=True, trains=trains)
    np.testing.assert_array_equal(found, wanted)
    assert_same_state(engine, defined)
    assert (found >= 0).any()


def test_more_inputs_than_sixteen_bits_can_add():
    config = small(inputs=600, norm=500.0, neurons=5, steps=12, intensity=1000.0, bits=StdpBits(8))
    pixels = np.full((2, 600), 255, np.uint8)
    defined, engine = initial_state(config), initial_state(config)
    wanted = reference(config, defined, pixels, [0, 1], learn=True)
    np.testing.assert_array_equal(native.present(config, engine, numbers=[0, 1], learn=True, pixels=pixels), wanted)
    assert_same_state(engine, defined)


@pytest.mark.parametrize("bits", [None, StdpBits(4)], ids=["float", "4 bits"])
def test_threads_change_nothing(bits):
    config = small(bits=bits)
    state = initial_state(config)
    pixels, numbers = images(130, config.inputs), np.arange(130)
    native.present(config, state, numbers=numbers, learn=True, pixels=pixels)
    one = native.present(config, state, numbers=numbers, learn=False, pixels=pixels)
    four = native.present(config, state, numbers=numbers, learn=False, pixels=pixels, threads=4)
    np.testing.assert_array_equal(one, four)


def test_what_does_not_fit_is_refused():
    config = small()
    state = initial_state(config)
    with pytest.raises(ValueError, match="what is presented has shape"):
        native.present(config, state, numbers=[0], learn=False, pixels=np.zeros((2, 49), np.uint8))
    with pytest.raises(TypeError, match="the engine takes float32"):
        native.present(
            config, initial_state(config, np.float64), numbers=[0], learn=False, pixels=np.zeros((1, 49), np.uint8)
        )
    with pytest.raises(ValueError, match="there is no build 'sse9'"):
        native.present(config, state, numbers=[0], learn=False, pixels=np.zeros((1, 49), np.uint8), build="sse9")
