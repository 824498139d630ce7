"""From one budget to channels: met, barely, and refused where it cannot be."""

import copy

import pytest
import torch

from bitspike import create_model, measure
from bitspike.prune import Target, for_target, prunable_channels, remove_
from bitspike.prune.fitting import _line
from bitspike.prune.ratios import keep_lists
from networks import settle_


@pytest.fixture(scope="module", params=["2w4u", "32w32u"])
def net(request):
    made = create_model("resnet20", spec=request.param, input_shape=(3, 8, 8), first=8, widths=(8, 12, 16))
    settle_(made)
    return made.eval()


@pytest.fixture(scope="module")
def orders(net):
    generator = torch.Generator().manual_seed(3)
    return {name: torch.randperm(count, generator=generator) for name, count in prunable_channels(net).items()}


def left(net, orders, counts):
    pruned = copy.deepcopy(net)
    remove_(pruned, keep_lists(prunable_channels(net), orders, counts))
    return measure(pruned)


def cost(table, kind):
    return {"memory": table.memory.total, "parameters": table.parameters, "operations": table.operations.dense}[kind]


@pytest.mark.parametrize("kind", ["memory", "parameters", "operations"])
@pytest.mark.parametrize("share", [0.31, 0.8, 0.999])
def test_met_and_one_channel_more_would_be_too_much(net, orders, kind, share):
    whole = cost(measure(net), kind)
    target = Target(memory=int(share * whole)) if kind == "memory" else Target(**{kind: share})
    counts = for_target(net, orders, target)
    assert cost(left(net, orders, counts), kind) <= share * whole
    channels = prunable_channels(net)
    gone = sum(channels.values()) - sum(counts.values())
    line = _line(channels, 0.1)
    assert {name: channels[name] - line[:gone].count(name) for name in channels} == counts
    counts[line[gone - 1]] += 1
    assert cost(left(net, orders, counts), kind) > share * whole
    shares = [counts[name] / channels[name] for name in channels]
    assert max(shares) - min(shares) <= 0.25  # to within a channel or two of eight


def test_the_network_is_not_changed_and_the_answer_is_the_same_again(net, orders):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert for_target(net, orders, Target(parameters=0.5)) == for_target(net, orders, Target(parameters=0.5))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not hasattr(net, "pruned")


def test_protected_and_unscored_layers_keep_all(net, orders):
    some = {name: order for name, order in orders.items() if name != "first"}
    counts = for_target(net, some, Target(parameters=0.6), protect=["stage3.*.second"])
    assert counts["first"] == 8
    assert all(counts[f"stage3.{number}.second"] == 16 for number in range(3))
    assert counts["stage3.0.first"] < 16


def test_what_is_small_enough_stays_whole(net, orders):
    assert for_target(net, orders, Target(memory=10**9)) == prunable_channels(net)
    assert for_target(net, orders, Target(operations=1.0)) == prunable_channels(net)


def test_every_layer_keeps_its_least_share(net, orders):
    smallest = cost(left(net, orders, {name: -(-c // 2) for name, c in prunable_channels(net).items()}), "parameters")
    share = smallest / measure(net).parameters + 1e-9
    assert for_target(net, orders, Target(parameters=share), keep_at_least=0.5) == {
        name: -(-count // 2) for name, count in prunable_channels(net).items()
    }
    with pytest.raises(ValueError, match=r"cannot be met: .* would be left .*lower keep_at_least"):
        for_target(net, orders, Target(parameters=0.9 * share), keep_at_least=0.5)


def test_channels_go_one_by_one_and_evenly():
    assert _line({"a": 4, "b": 2}, 0.0) == ["a", "a", "b", "a"]
    assert _line({"a": 10}, 0.3) == ["a"] * 7
    with pytest.raises(ValueError, match=r"keep_at_least is 1\.5"):
        _line({"a": 4}, 1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "a target has nothing; give exactly one"),
        ({"memory": 10, "parameters": 0.5}, "memory and parameters; give exactly one"),
        ({"memory": 0}, "positive number of bytes"),
        ({"parameters": 1.5}, "the target parameters is 1.5; give a share"),
        ({"operations": 0.0}, "the target operations is 0.0"),
    ],
)
def test_impossible_targets(given, message):
    with pytest.raises(ValueError, match=message):
        Target(**given)
