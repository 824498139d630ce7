"""Parameter groups, and the optimizer's memory through a round trip."""

import pytest
import torch
from torch import nn

from bitspike.train.config import TrainConfig
from bitspike.train.optimizer import (
    build_optimizer,
    load_optimizer_tensors,
    optimizer_tensors,
    parameter_groups,
    set_learning_rate,
)


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3))


def train_steps(net, optimizer, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.rand(4, 1, 8, 8, generator=generator)).square().sum().backward()
        optimizer.step()


def test_only_weights_decay_unless_all_shall():
    net = small_net()
    decayed, plain = parameter_groups(net, TrainConfig(weight_decay=0.1))
    assert [tuple(value.shape) for value in decayed["params"]] == [(2, 1, 3, 3), (3, 72)]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert len(plain["params"]) == 4
    (everything,) = parameter_groups(net, TrainConfig(weight_decay=0.1, decay="all"))
    assert len(everything["params"]) == 6


def test_frozen_parameters_stay_out_and_a_net_of_them_is_refused():
    net = small_net()
    net[0].requires_grad_(False)
    assert len(parameter_groups(net, TrainConfig())[0]["params"]) == 1
    with pytest.raises(ValueError, match="no trainable parameters"):
        parameter_groups(net.requires_grad_(False), TrainConfig())


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_memory_round_trip_continues_identically(name):
    config = TrainConfig(optimizer=name, lr=0.01, weight_decay=0.01)
    whole, halved = small_net(), small_net()
    train_steps(whole, optimizer := build_optimizer(whole, config), 3, seed=1)
    train_steps(whole, optimizer, 3, seed=2)
    train_steps(halved, first := build_optimizer(halved, config), 3, seed=1)
    second = build_optimizer(halved, config)
    load_optimizer_tensors(second, optimizer_tensors(first))
    train_steps(halved, second, 3, seed=2)
    for one, other in zip(whole.parameters(), halved.parameters(), strict=True):
        assert torch.equal(one, other)


def test_loaded_memory_follows_the_parameters_layout():
    net = small_net()
    net[0] = nn.Conv2d(4, 2, 3)
    net = net[0].to(memory_format=torch.channels_last)
    optimizer = build_optimizer(net, TrainConfig(optimizer="sgd"))
    net(torch.rand(1, 4, 5, 5)).sum().backward()
    optimizer.step()
    stored = {name: value.contiguous() for name, value in optimizer_tensors(optimizer).items()}
    load_optimizer_tensors(optimizer, stored)
    assert optimizer.state[net.weight]["momentum_buffer"].stride() == net.weight.stride()
    assert torch.equal(optimizer.state[net.weight]["momentum_buffer"], stored["0/momentum_buffer"])


def test_learning_rate_reaches_every_group():
    optimizer = build_optimizer(small_net(), TrainConfig())
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]
