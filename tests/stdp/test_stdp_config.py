import pytest

from bitspike.stdp.config import StdpBits, StdpConfig
from bitspike.stdp.constants import integer_constants


def test_defaults_are_the_references():
    config = StdpConfig()
    assert (config.rest, config.reset, config.threshold) == (-65.0, -60.0, -52.0)
    assert (config.membrane_tau, config.trace_tau, config.theta_tau) == (100.0, 20.0, 1e7)
    assert (config.theta_plus, config.norm, config.rate_pre, config.rate_post) == (0.05, 78.4, 1e-4, 1e-2)
    assert (config.steps, config.dt, config.intensity) == (250, 1.0, 128.0)
    assert (config.refractory_steps, config.delay) == (5, 2)
    assert StdpConfig(topology="direct").delay == 1


def test_plain_data_and_back():
    config = StdpConfig(neurons=100, bits=StdpBits(3, rounding="nearest"))
    assert StdpConfig.from_dict(config.to_dict()) == config
    assert StdpConfig.from_dict({"bits": {"weight": 5}}).bits == StdpBits(5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"neurons": 0}, "neurons is 0; give 1 to"),
        ({"neurons": 40000}, "neurons is 40000"),
        ({"steps": 0}, "steps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"topology": "ring"}, "topology is 'ring'; allowed: direct, two-population"),
        ({"winner": "random"}, "winner is 'random'"),
        ({"intensity": 2000.0}, "a step holds one spike"),
        ({"intensity": float("nan")}, "intensity is nan"),
        ({"reset": -50.0}, "rest <= reset < threshold"),
        ({"norm": 800.0}, "norm is 800 for 784 inputs"),
        ({"excitation": 10.0}, "needs 20 mV to spike"),
        ({"inhibitory_refractory": 9.0}, "would miss spikes"),
        ({"bits": {"weight": 17}}, "bits.weight is 17; give 1 to 16"),
        ({"bits": {"trace": 1}}, "bits.trace is 1"),
        ({"bits": {"rounding": "up"}}, "bits.rounding is 'up'"),
        ({"bits": {"membrane_range": 100.0}}, "power of two"),
        ({"bits": {"ceiling": 0.0}}, "bits.ceiling"),
        ({"bits": {"slack": 9.0}}, "bits.slack"),
        ({"bits": {"wight": 4}}, "there is no setting bits.wight"),
        ({"bits": 4}, "give a table of widths"),
        ({"neuron": 4}, "there is no setting neuron"),
    ],
)
def test_bad_settings_are_named(given, said):
    with pytest.raises(ValueError, match=said):
        StdpConfig.from_dict(given)


def test_a_wrong_type_is_named():
    with pytest.raises(TypeError, match=r"neurons is 2\.5; give a whole number"):
        StdpConfig(neurons=2.5)
    with pytest.raises(TypeError, match="norm is '1'; give a number"):
        StdpConfig(norm="1")


def test_integers_of_the_default():
    found = integer_constants(StdpConfig(bits=StdpBits(4)))
    assert (found.levels, found.target, found.limit) == (15, 1176, 1470)
    assert (found.reset, found.inhibition) == (640, 15360)  # 5 and 120 mV in units of 1/128 mV
    assert found.threshold == 13 * 128 << 14
    assert found.trace[0] == 255
    assert found.trace[20] == 94  # 255 / e
    assert found.numerator // found.target <= 2**14


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="give it bits"):
        integer_constants(StdpConfig())
    with pytest.raises(ValueError, match="no potential passes"):
        integer_constants(StdpConfig(bits=StdpBits(threshold_range=512.0)))
    with pytest.raises(ValueError, match="too fine for a membrane of 6 bits"):
        integer_constants(StdpConfig(bits=StdpBits(membrane=6, membrane_range=4096.0, threshold_range=16.0)))
    with pytest.raises(ValueError, match=r"outside bits\.membrane_range"):
        integer_constants(StdpConfig(threshold=-20.0, bits=StdpBits(membrane_range=32.0, threshold_range=16.0)))
    with pytest.raises(ValueError, match="theta_plus"):
        integer_constants(StdpConfig(theta_plus=500.0, bits=StdpBits()))


@pytest.mark.parametrize("membrane", [6, 12, 16])
@pytest.mark.parametrize("weight", [1, 4, 8, 16])
def test_no_sum_of_a_step_leaves_32_bits(membrane, weight):
    config = StdpConfig(bits=StdpBits(weight, membrane=membrane, threshold=min(16, membrane + 1)))
    found = integer_constants(config)
    largest = max(-found.lowest * found.leak, 0) + (found.inhibition + found.highest << 14) + (1 << 14)
    assert largest < 2**31
    assert found.threshold + (found.theta_most << found.theta_shift) < 2**31
    assert found.up * int(found.trace[0]) + (1 << found.update_shift) < 2**32
    assert found.up * int(found.trace[0]) < 2**31
    assert found.theta_plus + 255 < 2**31
