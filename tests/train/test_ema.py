"""The moving average by hand."""

import pytest
import torch
from torch import nn

from bitspike.train.ema import MovingAverage


def counted_net(value: float) -> nn.Module:
    net = nn.Module()
    net.weight = nn.Parameter(torch.tensor([value]))
    net.register_buffer("variance", torch.tensor([value]))
    net.register_buffer("batches", torch.tensor(0))
    return net


def test_values_by_hand_with_the_ramp():
    net = counted_net(0.0)
    average = MovingAverage(net, 0.5)
    with torch.no_grad():
        net.weight.fill_(10.0)
        net.variance.fill_(20.0)
        net.batches.fill_(7)
    average.update(net, 0)  # decay = min(0.5, 1 / 10)
    assert average.values["weight"].item() == pytest.approx(9.0)
    assert average.values["variance"].item() == pytest.approx(18.0)
    assert average.values["batches"].item() == 7
    average.update(net, 98)  # decay = min(0.5, 99 / 108)
    assert average.values["weight"].item() == pytest.approx(9.5)


def test_applied_puts_the_networks_own_values_back_even_after_an_error():
    net = counted_net(1.0)
    average = MovingAverage(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(3.0)
    with pytest.raises(RuntimeError), average.applied(net):
        assert net.weight.item() == 1.0
        raise RuntimeError
    assert net.weight.item() == 3.0


def test_copy_to_overwrites_in_place():
    net = counted_net(1.0)
    average = MovingAverage(net, 0.9)
    kept = net.weight
    with torch.no_grad():
        net.weight.fill_(3.0)
    average.copy_to(net)
    assert net.weight is kept
    assert kept.item() == 1.0


@pytest.mark.parametrize("decay", [0, 1, -0.1, 1.5])
def test_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MovingAverage(counted_net(0.0), decay)
