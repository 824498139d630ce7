"""QP-SNN's printed energies, to the last digit, and the rule on rows."""

import pytest

from bitspike.cost import LayerCost, energy, kept_channels, qpsnn_energy

FIRST_CONVOLUTION = 3 * 64 * 9 * 32 * 32


def millijoules(result, decimals):
    return f"{result.joules * 1e3:.{decimals}f}"


def test_vgg16_full_precision():
    result = qpsnn_energy(54.60e6, FIRST_CONVOLUTION, 4)
    assert millijoules(result, 4) == "0.2047"
    # The paper prints 0.204: cut, not rounded.
    assert int(result.joules * 1e6) / 1e3 == 0.204


def test_vgg16_pruned():
    first = 3 * kept_channels(64, 0.49) * 9 * 32 * 32
    result = qpsnn_energy(11.63e6, first, 4)
    assert millijoules(result, 4) == "0.0459"
    assert millijoules(result, 3) == "0.046"


def test_resnet20_full_precision():
    result = qpsnn_energy(415.64e6, FIRST_CONVOLUTION, 2)
    assert millijoules(result, 4) == "0.7563"
    assert millijoules(result, 3) == "0.756"


def test_resnet20_pruned_is_printed_without_the_factor_t():
    """A known misprint: 0.126 mJ needs T left out; by the rule of the other rows it is 0.244 mJ."""
    first = 3 * kept_channels(64, 0.1) * 9 * 32 * 32
    printed = qpsnn_energy(131.53e6, first, 2, every_step=False)
    by_the_rule = qpsnn_energy(131.53e6, first, 2)
    assert millijoules(printed, 4) == "0.1256"
    assert millijoules(printed, 3) == "0.126"
    assert millijoules(by_the_rule, 3) == "0.244"
    full = qpsnn_energy(415.64e6, FIRST_CONVOLUTION, 2)
    assert f"{full.joules / printed.joules:.1f}" == "6.0"
    assert f"{full.joules / by_the_rule.joules:.1f}" == "3.1"
    assert "instead of the 2 steps" in printed.assumptions[1]


@pytest.mark.parametrize(("operations", "printed"), [(292.14e6, 0.266e-3), (130.05e6, 0.118e-3)])
def test_spikingformer_is_printed_without_the_factor_t_too(operations, printed):
    """Its first layer is not described; the additions alone leave 0.003 and 0.001 mJ for it."""
    additions = qpsnn_energy(operations, 0, 4, every_step=False).joules
    assert 0 < printed - additions < 0.0035e-3
    assert qpsnn_energy(operations, 0, 4).joules > 3.9 * printed


FIRST = LayerCost("first", "conv", True, 27, 8, 0, 3, 50, 2, 270, static_input=True)
HIDDEN = LayerCost("hidden", "conv", False, 75, 1, 0, 5, 80, 2, 750, input_rate=0.2)


def test_rows_and_rule_agree():
    result = energy([FIRST, HIDDEN], 4)
    assert result.synaptic_joules == pytest.approx(4 * 150 * 0.9e-12)
    assert result.multiply_joules == pytest.approx(270 * 4.6e-12)
    assert result.joules == pytest.approx(qpsnn_energy(150, 270, 4).joules)


def test_assumptions_travel_with_the_number():
    result = energy([FIRST, HIDDEN], 4, accumulate_joules=0.1e-12)
    assert result.assumptions[0].startswith("0.1 pJ per addition, 4.6 pJ per multiply-accumulate")
    assert any("left out: memory traffic" in line for line in result.to_dict()["assumptions"])
    assert result.to_dict()["joules"] == result.joules


def test_unmeasured_rates_are_refused_by_name():
    unmeasured = LayerCost("third", "conv", False, 75, 1, 0, 5, 80, 2, 750)
    with pytest.raises(ValueError, match="no input rate was measured for third"):
        energy([FIRST, HIDDEN, unmeasured], 4)


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="time_steps is 0"):
        qpsnn_energy(1e6, 0, 0)
    with pytest.raises(ValueError, match="give 0 or more"):
        qpsnn_energy(-1, 0, 2)
