"""Firing rates against spikes counted by hand."""

import pytest
import torch
from torch import nn

from bitspike.block import ImageInput, SpikingBlock, SpikingConv2d
from bitspike.train.firing import FiringRates, regulated_layers


class TwoLayers(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.input = ImageInput((1, 8, 8), mean=(0.3,), std=0.2, time_steps=3)
        self.later = SpikingConv2d(4, 2)  # defined first, run last
        self.first = SpikingConv2d(1, 4, input_scale=1 / 51)
        self.kept = []

    def forward(self, images):
        spikes = self.first(self.input(images))
        last = self.later(spikes)
        self.kept = [spikes, last]
        return last.flatten(2)


IMAGES = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_rates_are_counted_spikes_in_order_of_execution():
    net = TwoLayers()
    with FiringRates(net) as rates:
        net(IMAGES)
    expected = [spikes.sum().item() / spikes.numel() for spikes in net.kept]
    assert list(rates.mean()) == ["first", "later"]
    assert list(rates.mean().values()) == expected
    assert 0 < expected[0] < 1


def test_rates_do_not_depend_on_the_batch_size_and_clear_forgets():
    net = TwoLayers().eval()
    with FiringRates(net) as rates:
        net(IMAGES)
        whole = rates.mean()
        rates.clear()
        assert rates.mean() == {}
        net(IMAGES[:1])
        net(IMAGES[1:])
        assert rates.mean() == whole


def test_differentiable_rates_reach_the_weights():
    net = TwoLayers()
    with FiringRates(net, differentiable=True) as rates:
        net(IMAGES)
        rates.rates()["later"].backward()
    assert net.first.weight.grad.abs().sum() > 0
    with FiringRates(net) as plain:
        net(IMAGES)
    assert not plain.rates()["later"].requires_grad


def test_two_nets_at_once_and_hooks_are_gone_afterwards():
    one, other = TwoLayers(), TwoLayers()
    with FiringRates(one) as first, FiringRates(other) as second:
        one(IMAGES)
        assert second.mean() == {}
        other(IMAGES[:2])
    assert first.mean() != second.mean()
    for module in one.modules():
        if isinstance(module, SpikingBlock):
            assert not module._forward_hooks


def test_hidden_layers_leave_out_first_and_last():
    rates = {name: torch.tensor(value) for name, value in (("a", 0.1), ("b", 0.2), ("c", 0.3))}
    assert [value.item() for value in regulated_layers(rates, "hidden")] == [pytest.approx(0.2)]
    assert len(regulated_layers(rates, "all")) == 3
    del rates["b"]
    with pytest.raises(ValueError, match="finds none among 2 spiking blocks"):
        regulated_layers(rates, "hidden")
    with pytest.raises(ValueError, match="allowed: hidden, all"):
        regulated_layers(rates, "some")
