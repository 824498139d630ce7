"""Losses against values computed by hand."""

import math

import pytest
import torch

from bitspike.train.losses import per_step_cross_entropy, spike_rate_loss, time_mean_cross_entropy


def cross_entropy(logits, label):
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def test_per_step_is_the_mean_over_steps_and_samples():
    logits = torch.tensor([[[2.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 3.0]]])  # T = 2, B = 2, K = 2
    labels = torch.tensor([0, 1])
    parts = [cross_entropy([2, 0], 0), cross_entropy([1, 1], 1), cross_entropy([0, 0], 0), cross_entropy([0, 3], 1)]
    assert per_step_cross_entropy(logits, labels).item() == pytest.approx(sum(parts) / 4, rel=1e-6)


def test_time_mean_averages_logits_first():
    logits = torch.tensor([[[2.0, 0.0]], [[0.0, 1.0]]])
    expected = cross_entropy([1.0, 0.5], 0)
    assert time_mean_cross_entropy(logits, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-6)


def test_label_smoothing_by_hand():
    logits = torch.tensor([[[2.0, 0.0]]])
    expected = 0.95 * cross_entropy([2, 0], 0) + 0.05 * cross_entropy([2, 0], 1)
    assert per_step_cross_entropy(logits, torch.tensor([0]), smoothing=0.1).item() == pytest.approx(expected, rel=1e-6)


def test_bfloat16_logits_are_compared_in_float32():
    logits = torch.zeros(1, 1, 3, dtype=torch.bfloat16)
    loss = per_step_cross_entropy(logits, torch.tensor([0]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(3), rel=1e-6)


def test_spike_rate_loss_sum_and_mean():
    rates = [torch.tensor(0.1), torch.tensor(0.5), torch.tensor(0.9)]
    assert spike_rate_loss(rates).item() == pytest.approx(0.32)
    assert spike_rate_loss(rates, form="mean").item() == pytest.approx(0.32 / 3)
    assert spike_rate_loss(rates, target=0.1).item() == pytest.approx(0.16 + 0.64)


def test_spike_rate_loss_gradient_pulls_towards_the_target():
    rate = torch.tensor(0.2, requires_grad=True)
    spike_rate_loss([rate, torch.tensor(0.5)]).backward()
    assert rate.grad.item() == pytest.approx(2 * (0.2 - 0.5))


def test_spike_rate_loss_refuses_no_layers_and_unknown_forms():
    with pytest.raises(ValueError, match="at least one layer"):
        spike_rate_loss([])
    with pytest.raises(ValueError, match="allowed: sum, mean"):
        spike_rate_loss([torch.tensor(0.1)], form="max")
