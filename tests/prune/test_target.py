"""From one budget to channels: met, barely, and refused where it cannot be."""

import copy

import pytest
import torch
from torch import nn

from bitspike import create_model, measure, prune_, quantize_
from bitspike.block import ConvSkip, Flatten, GlobalSumPool, ImageInput, Readout, SpikingConv2d
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
    line = _line(channels, 0.1, 1)
    assert channels | dict(line[:gone]) == counts
    counts[line[gone - 1][0]] += 1
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
    assert _line({"a": 4, "b": 2}, 0.0, 1) == [("a", 3), ("a", 2), ("b", 1), ("a", 1)]
    assert _line({"a": 10}, 0.3, 1) == [("a", left) for left in range(9, 2, -1)]
    with pytest.raises(ValueError, match=r"keep_at_least is 1\.5"):
        _line({"a": 4}, 1.5, 1)


def test_channels_go_in_multiples():
    assert _line({"a": 12, "b": 16, "c": 4}, 0.0, 4) == [("b", 12), ("a", 8), ("b", 8), ("a", 4), ("b", 4)]
    assert _line({"a": 12, "b": 14}, 0.4, 4) == [("b", 12), ("a", 8), ("b", 8)]
    for wrong in (0, -8, True, 2.0):
        with pytest.raises(ValueError, match="give a whole number of channels, 1 or more"):
            _line({"a": 12}, 0.0, wrong)


def test_a_target_in_multiples_is_met_and_one_step_back_would_be_too_much(net, orders):
    counts = for_target(net, orders, Target(parameters=0.4), multiple_of=4)
    whole, channels = measure(net).parameters, prunable_channels(net)
    assert all(count % 4 == 0 for count in counts.values())
    assert cost(left(net, orders, counts), "parameters") <= 0.4 * whole
    line = _line(channels, 0.1, 4)
    done = next(number for number in range(len(line) + 1) if channels | dict(line[:number]) == counts)
    back = channels | dict(line[: done - 1])
    assert cost(left(net, orders, back), "parameters") > 0.4 * whole
    with pytest.raises(ValueError, match="lower keep_at_least or multiple_of"):
        for_target(net, orders, Target(parameters=0.4), multiple_of=16)


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


class CalledSkip(nn.Module):
    """A block that is called skip, which is no convolved skip of another."""

    def __init__(self):
        super().__init__()
        self.input = ImageInput((1, 8, 8), mean=[0.5], std=0.25, time_steps=2)
        self.first = SpikingConv2d(1, 8, input_scale=0.01)
        self.stage = nn.ModuleDict({"skip": SpikingConv2d(8, 8), "main": SpikingConv2d(8, 8, skip=ConvSkip(8))})
        self.pool, self.flatten = GlobalSumPool(), Flatten()
        self.readout = Readout(8, 10, input_scale=1 / 64)

    def forward(self, images):
        first = self.first(self.input(images))
        return self.readout(self.flatten(self.pool(self.stage["main"](self.stage["skip"](first), first))))


def test_a_block_may_be_called_skip():
    torch.manual_seed(0)
    net = CalledSkip()
    quantize_(net, "2w4u")
    report = prune_(net, target={"parameters": 0.5}, criterion="magnitude")
    assert report.parameters_after <= 0.5 * report.parameters_before


@pytest.mark.parametrize(
    ("target", "error", "said"),
    [
        ({"params": 0.5}, ValueError, "a target has params; give exactly one of memory, parameters, operations"),
        ({"memory": "1kB"}, ValueError, "the target memory is '1kB'; give a number"),
        ({"parameters": True}, ValueError, "the target parameters is True; give a number"),
        (0.5, TypeError, r"the target is 0\.5; give a Target, or a table"),
    ],
)
def test_a_target_that_is_none_is_refused_with_a_sentence(net, orders, target, error, said):
    with pytest.raises(error, match=said):
        prune_(copy.deepcopy(net), target=target, orders=orders)


def test_an_order_of_an_unknown_block_is_refused(net, orders):
    wrong = orders | {"frist": orders["first"]}
    with pytest.raises(ValueError, match="orders names 'frist', which is no spiking block; they are first"):
        for_target(net, wrong, Target(parameters=0.5))
    with pytest.raises(ValueError, match="orders names 'frist'"):
        prune_(copy.deepcopy(net), ratios=0.5, orders=wrong)
