"""Removal in place: what is carried over, what becomes of skips, and what is refused before anything changes."""

import copy

import numpy as np
import pytest
import torch
from pruning_nets import samples_for
from torch import Tensor, nn

from bitspike import create_model
from bitspike.block import (
    ConvSkip,
    Flatten,
    ImageInput,
    MaxPool,
    PlainSkip,
    Readout,
    SpikingConv2d,
    blocks_of,
    quantize_,
)
from bitspike.prune import remove_, removed_from
from networks import ImageNet, settle_


class TwoReaders(nn.Module):
    """One value, read by two convolutions that join."""

    def __init__(self, skip=None, norm=True) -> None:
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=2)
        self.first = SpikingConv2d(2, 4, input_scale=self.input.scale)
        self.left = SpikingConv2d(4, 3, bias=True)
        self.right = SpikingConv2d(4, 5, skip=skip or ConvSkip(3, norm="own"))
        self.flatten = Flatten()
        self.readout = Readout(180, 3)
        settle_(self)
        quantize_(self, "4w4u")

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(self.input(images))
        logits: Tensor = self.readout(self.flatten(self.right(first, self.left(first))))
        return logits


class Twice(nn.Module):
    """One convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=2)
        self.first = SpikingConv2d(2, 4, input_scale=self.input.scale)
        self.again = SpikingConv2d(4, 4, skip=PlainSkip())
        self.pool = MaxPool(2)
        self.flatten = Flatten()
        self.readout = Readout(36, 3)
        settle_(self)
        quantize_(self, "4w4u")

    def forward(self, images: Tensor) -> Tensor:
        first = self.first(self.input(images))
        once = self.again(first, first)
        logits: Tensor = self.readout(self.flatten(self.pool(self.again(once, once))))
        return logits


def state(net):
    """Everything that a removal may touch, with identities."""
    tensors = {name: (id(value), value.clone()) for name, value in [*net.named_parameters(), *net.named_buffers()]}
    others = {
        name: (getattr(block, "skip", None), getattr(block, "out_channels", None), getattr(block, "weight_spec", None))
        for name, block in blocks_of(net)
    }
    return tensors, others, copy.deepcopy(vars(net).get("pruned"))


def assert_unchanged(net, before):
    after = state(net)
    assert after[1:] == before[1:]
    assert after[0].keys() == before[0].keys()
    for name, (identity, value) in before[0].items():
        assert after[0][name][0] == identity
        assert torch.equal(after[0][name][1], value)


def test_every_tensor_of_a_channel_is_carried_over():
    net = TwoReaders()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.left.bias.requires_grad_(False)
    keep = {"first": torch.tensor([3, 0]), "left": np.array([1, 2]), "right": [4, 0, 1]}
    report = remove_(net, keep)
    after = net.state_dict()
    first, left, right = [0, 3], [1, 2], [0, 1, 4]
    features = [channel * 36 + place for channel in right for place in range(36)]
    wanted = {
        "first.weight": before["first.weight"][first],
        "left.weight": before["left.weight"][left][:, first],
        "left.bias": before["left.bias"][left],
        "right.weight": before["right.weight"][right][:, first],
        "right.skip_weight": before["right.skip_weight"][right][:, left],
        "readout.weight": before["readout.weight"][:, features],
        "readout.bias": before["readout.bias"],
    }
    for block, rows in (("first.norm", first), ("left.norm", left), ("right.norm", right), ("right.skip_norm", right)):
        for name in ("weight", "bias", "running_mean", "running_var"):
            wanted[f"{block}.{name}"] = before[f"{block}.{name}"][rows]
    assert after.keys() == wanted.keys() == before.keys()
    for name, value in wanted.items():
        assert torch.equal(after[name], value), name
    assert net.right.skip.in_channels == 2
    assert {name for name, parameter in net.named_parameters() if not parameter.requires_grad} == {"left.bias"}
    assert [(layer.name, layer.before, layer.after) for layer in report.layers] == [
        ("first", 4, 2), ("left", 3, 2), ("right", 5, 3),
    ]  # fmt: skip
    assert report.rewired == ("left", "right", "readout")
    assert report.parameters_after == sum(value.numel() for value in net.parameters()) < report.parameters_before
    net.train()(samples_for(net)).square().sum().backward()
    assert all(value.grad is not None for value in net.parameters() if value.requires_grad)


def test_a_tensor_for_the_whole_layer_stays():
    net = TwoReaders()
    net.left.weight_gamma = nn.Parameter(torch.ones(1))
    net.right.weight_gamma = nn.Parameter(torch.arange(5.0))
    remove_(net, {"left": [1], "right": [1, 3]})
    assert net.left.weight_gamma.tolist() == [1.0]
    assert net.right.weight_gamma.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("skip", "first", "second", "wanted"),
    [
        (PlainSkip(), [0, 2, 4], [0, 2, 4], None),
        (PlainSkip(), [0, 2, 4], [0, 1, 2, 3, 4], (0, -1, 1, -1, 2)),
        (PlainSkip(), [0, 1, 2, 3, 4], [0, 1, 2], (0, 1, 2)),
        (PlainSkip(), [1, 2], [2, 3, 4], (1, -1, -1)),
        (PlainSkip(), [3], [0, 1], (-1, -1)),
        (PlainSkip(1, (-1, 4, 4, 0, -1)), [0, 4], [1, 2, 3, 4], (1, 1, 0, -1)),
        (PlainSkip(1, (-1, 1, 0, 2, 3)), [0, 1], [1, 2], (1, 0)),
        (PlainSkip(1, (1, 0, -1, 3, 4)), [1, 3, 4], [0, 3, 4], None),
    ],
)
def test_both_sides_of_a_plain_skip_keep_what_they_like(skip, first, second, wanted):
    net = ImageNet("4w4u")
    net.second.skip = skip
    remove_(net, {"first": first, "second": second})
    given = net.second.skip.channel_map
    assert given == wanted
    assert net.second.skip.stride == 1
    assert net.eval()(samples_for(net)).isfinite().all()


def test_a_skip_that_nothing_changes_about_stays_as_it_is():
    net = ImageNet("4w4u")
    net.second.skip = PlainSkip(1, (0, 1, 2, 3, 4))
    assert remove_(net, {"first": range(5)}).rewired == ()
    assert net.second.skip.channel_map == (0, 1, 2, 3, 4)
    assert removed_from(net) == {}


def test_option_a_skips_lose_what_their_operand_loses():
    net = create_model("resnet20", input_shape=(3, 8, 8), first=4, widths=(4, 8, 8))
    remove_(net, {"stage1.2.second": [0, 3], "stage2.0.second": [0, 2, 4, 5, 7]})
    assert net.stage2[0].second.skip == PlainSkip(2, (-1, 0, -1, 1, -1))
    assert net.stage2[1].second.skip == PlainSkip(1, (0, -1, 1, -1, 2, 3, -1, 4))


def test_repeated_removals_are_remembered_in_the_first_numbering():
    net, at_once = ImageNet("4w4u"), ImageNet("4w4u")
    remove_(net, {"first": [0, 2, 3, 4]})
    remove_(net, {"first": [1, 3], "second": [0, 1]})
    assert net.pruned == {"first": [2, 4], "second": [0, 1]}
    remove_(at_once, net.pruned)
    assert at_once.pruned == net.pruned
    assert net.second.skip == at_once.second.skip
    for name, value in net.state_dict().items():
        assert torch.equal(value, at_once.state_dict()[name])
    assert copy.deepcopy(net).pruned == net.pruned


def test_a_block_that_runs_twice_loses_the_same_on_both_ways():
    net = Twice()
    report = remove_(net, {"first": [1, 3], "again": [1, 3]})
    assert net.again.weight.shape == (2, 2, 3, 3)
    assert net.again.skip == PlainSkip()
    assert [layer.name for layer in report.layers] == ["first", "again"]
    assert net.eval()(samples_for(net)).isfinite().all()


def stray(net):
    net.extra = SpikingConv2d(2, 2)


def foreign(net):
    net.extra = nn.Linear(3, 3)


def unknown(net):
    net.second.taste = nn.Parameter(torch.ones(5))


def tied(net):
    net.second.norm.weight = net.first.norm.weight


def one_norm(net):
    net.second.norm = net.first.norm


def one_buffer(net):
    net.second.norm.running_var = net.first.norm.running_var


@pytest.mark.parametrize(
    ("change", "keep", "error", "message"),
    [
        (None, {"third": [0]}, ValueError, r"'third', which is no spiking block; they are first, second"),
        (None, {"input": [0]}, ValueError, "'input', which is no spiking block"),
        (None, {"readout": [0]}, ValueError, "readout; its outputs are the classes"),
        (None, {"first": []}, ValueError, "first must keep at least one of its 5"),
        (None, {"first": [0, 5]}, ValueError, r"keep\['first'\] is \[0, 5\]; give different channels from 0 to 4"),
        (None, {"first": [-1]}, ValueError, "from 0 to 4"),
        (None, {"first": [1, 1]}, ValueError, "different channels"),
        (None, {"first": [0], "second": [0.0]}, TypeError, r"keep\['second'\] is \[0\.0\]; give whole numbers"),
        (None, {"first": [True]}, TypeError, "whole numbers"),
        (stray, {"first": [0]}, ValueError, "extra does not run in eval mode"),
        (foreign, {"first": [0]}, ValueError, r"no blocks \(extra\)"),
        (unknown, {"first": [0]}, ValueError, "second holds the tensor 'taste'"),
        (one_norm, {"first": [0], "second": [1]}, ValueError, r"first\.norm\.weight and second\.norm\.weight are one"),
        (one_buffer, {"first": [0]}, ValueError, r"first\.norm\.running_var and second\.norm\.running_var are one"),
        (tied, {"second": [0]}, ValueError, r"first\.norm\.weight and second\.norm\.weight are one tensor"),
    ],
)
def test_refusals_change_nothing(change, keep, error, message):
    net = ImageNet("4w4u")
    if change is not None:
        change(net)
    before = state(net)
    with pytest.raises(error, match=message):
        remove_(net, keep)
    assert_unchanged(net, before)


def test_a_block_that_runs_twice_with_other_channels_is_refused_by_name():
    net = Twice()
    before = state(net)
    with pytest.raises(ValueError, match="again runs more than once with one set of weights"):
        remove_(net, {"first": [1, 3], "again": [0, 1]})
    assert_unchanged(net, before)


class Between(ImageNet):
    def forward(self, images: Tensor) -> Tensor:
        first = self.first(self.input(images))
        logits: Tensor = self.readout(self.flatten(self.pool(self.second(self.drop(first), first))))
        return logits


def test_an_operation_between_blocks_is_refused_by_name():
    net = Between("4w4u")
    net.drop = nn.Threshold(0.5, 0.0)
    before = state(net)
    with pytest.raises(ValueError, match=r"second reads a value that no block made.*drop \(Threshold\)"):
        remove_(net, {"first": [0]})
    assert_unchanged(net, before)


class Picky(ImageNet):
    """Takes another way where a block has lost channels, which nobody can see before."""

    def forward(self, images: Tensor) -> Tensor:
        if self.first.out_channels < 5:
            raise RuntimeError("five channels, please")
        return super().forward(images)


def test_a_network_that_does_not_run_afterwards_is_put_back():
    net = Picky("4w4u")
    before = state(net)
    with pytest.raises(RuntimeError, match="five channels, please"):
        remove_(net, {"first": [0]})
    assert_unchanged(net, before)
