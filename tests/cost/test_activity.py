"""Firing rate, sign balance and their entropies."""

import math

import numpy as np
import pytest

from bitspike.cost import activity_change, bernoulli_entropy, firing_rate, layer_activity, sign_balance

# Q-SNN, ResNet19 on CIFAR-10: firing rates of the first eight layers before and after WS-DR.
PAPER_BEFORE = (0.20, 0.11, 0.22, 0.13, 0.25, 0.15, 0.27, 0.16)
PAPER_AFTER = (0.30, 0.26, 0.30, 0.16, 0.29, 0.15, 0.29, 0.18)


def test_entropy_in_nats():
    assert bernoulli_entropy(0.5) == pytest.approx(math.log(2))
    assert bernoulli_entropy(0.2) == pytest.approx(0.500402, abs=1e-6)
    assert bernoulli_entropy(0.2) == pytest.approx(bernoulli_entropy(0.8))
    assert bernoulli_entropy(0.0) == bernoulli_entropy(1.0) == 0.0
    assert math.copysign(1, bernoulli_entropy(0.0)) == 1


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_entropy_refuses_what_is_no_share(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        bernoulli_entropy(p)


def test_sign_balance_counts_zero_as_positive():
    assert sign_balance([[-1.0, 0.0], [2.0, -0.0]]) == 0.75
    assert sign_balance(np.full((3, 3), -0.5)) == 0.0


def test_sign_balance_refuses_nothing_and_nan():
    with pytest.raises(ValueError, match="weights is empty"):
        sign_balance([])
    with pytest.raises(ValueError, match="NaN"):
        sign_balance([1.0, float("nan")])


def test_firing_rate():
    spikes = np.zeros((4, 2, 3), dtype=np.float32)
    spikes[0] = 1
    assert firing_rate(spikes) == 0.25


def test_firing_rate_of_many_float32_spikes_is_exact():
    spikes = np.ones(20_000_001, dtype=np.float32)
    assert firing_rate(spikes) == 1.0


def test_firing_rate_refuses_what_is_no_spike():
    with pytest.raises(ValueError, match="other than 0 and 1"):
        firing_rate([0, 1, 2])
    with pytest.raises(ValueError, match="spikes is empty"):
        firing_rate([])


def test_a_row_holds_both_shares_and_both_entropies():
    row = layer_activity("conv2", 0.5, [-1, 1, 1, 1])
    assert row.sign_balance == 0.75
    assert row.spike_entropy == pytest.approx(math.log(2))
    assert row.weight_entropy == pytest.approx(0.562335, abs=1e-6)
    assert row.to_dict()["name"] == "conv2"


def test_regulation_costs_thirty_percent_more_spikes():
    """Firing more evenly also means firing more: the paper's own rates say so."""
    before = [layer_activity(str(i), rate, [-1, 1]) for i, rate in enumerate(PAPER_BEFORE)]
    after = [layer_activity(str(i), rate, [-1, 1]) for i, rate in enumerate(PAPER_AFTER)]
    rows = activity_change(before, after)
    old, new = (sum(row[side]["firing_rate"] for row in rows) / 8 for side in ("before", "after"))
    assert (f"{old:.3f}", f"{new:.3f}") == ("0.186", "0.241")
    assert f"{new / old - 1:.2f}" == "0.30"
    assert sum(row["after"]["spike_entropy"] - row["before"]["spike_entropy"] for row in rows) > 0


def test_change_of_different_networks_is_refused():
    with pytest.raises(ValueError, match="same network"):
        activity_change([layer_activity("a", 0.5, [1])], [layer_activity("b", 0.5, [1])])
