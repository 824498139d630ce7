"""A network without some channels computes what the whole one does when those channels say nothing."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pruning_nets import SPECS, RandomNet, architectures, random_keep, samples_for, settle_exactly_, silence_

from bitspike import lower
from bitspike.block import SpikingBlock, blocks_of
from bitspike.block.native import plain
from bitspike.model import create_model, list_models
from bitspike.prune import remove_


@torch.no_grad()
def assert_same(net, keep, samples):
    pruned = copy.deepcopy(net)
    report = remove_(pruned, keep)
    silence_(net, keep)
    with plain():  # exact sums do not depend on their order, but the kernels' fused multiplications would show
        assert torch.equal(net(samples), pruned(samples))
    counted = {layer.name: layer.after for layer in report.layers}
    for name, block in blocks_of(pruned):
        if isinstance(block, SpikingBlock):
            assert counted[name] == block.out_channels == len(block.weight) == len(keep.get(name, block.weight))
    return pruned


@pytest.mark.parametrize("spec", SPECS)
@settings(max_examples=40, deadline=None)
@given(made=architectures(), seed=st.integers(0, 2**20))
def test_random_networks(spec, made, seed):
    net = settle_exactly_(RandomNet(*made), SPECS[spec], seed)
    samples = samples_for(net, seed=seed)
    pruned = assert_same(net, random_keep(net, seed), samples)
    if spec != "float":
        with torch.no_grad():
            answers = pruned(samples).mean(0).argmax(-1)
        classes = lower(pruned).predict(samples.numpy()).argmax(-1)
        assert answers.tolist() == classes.tolist()


OPTIONS = {
    "resnet19": {"input_shape": (3, 8, 8)},
    "resnet20": {"input_shape": (3, 8, 8), "first": 12, "widths": (16, 24, 32)},
    "vgg16": {"input_shape": (3, 32, 32), "time_steps": 1},
    "vggsnn": {"input_shape": (2, 16, 16), "time_steps": 2, "bound": 3},
    "small_events": {"time_steps": 2},
    "small_touch": {"time_steps": 2},
}


@pytest.mark.parametrize(
    ("name", "options"),
    [(name, OPTIONS.get(name, {})) for name in list_models()]
    + [
        ("resnet19", {**OPTIONS["resnet19"], "skip_norm": "shared"}),
        ("vggsnn", {**OPTIONS["vggsnn"], "head": "global"}),
    ],
)
def test_every_registered_model(name, options):
    net = settle_exactly_(create_model(name, **options), SPECS["4 bits"], 1)
    assert_same(net, random_keep(net, 2), samples_for(net, batch=1))


def test_codes_of_what_stays_are_slices_on_the_signs_grid():
    """Signs do not depend on their neighbours, whatever the weights; scales and standardized weights do."""
    torch.manual_seed(0)
    net = create_model("small8", spec=SPECS["binary"])
    before = net.conv2.quantized().main
    keep = {"conv1": [0, 3, 4, 9], "conv2": [1, 2, 30]}
    remove_(net, keep)
    after = net.conv2.quantized().main
    assert torch.equal(after.codes, before.codes[keep["conv2"]][:, keep["conv1"]])
    assert torch.equal(after.scale, net.conv2.weight.abs().double().flatten(1).mean(1).float())
    assert not torch.equal(after.scale, before.scale[keep["conv2"]])
