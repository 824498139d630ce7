"""QP-SNN's published ratios: the misprint, other models, and what pruning does to membranes."""

import pytest
import torch

from bitspike import create_model, measure
from bitspike.cost import qpsnn_model_size
from bitspike.measuring import describe
from bitspike.prune import PRESETS, prunable_channels, prune_

SMALL = {"input_shape": (3, 8, 8), "time_steps": 1}  # ResNet20's sizes do not depend on the image
CIFAR = {"input_shape": (3, 32, 32), "time_steps": 1}


def orders_of(net):
    return {name: range(channels) for name, channels in prunable_channels(net).items()}


def test_the_misprint_of_stage_2_would_not_give_the_printed_sizes():
    net = create_model("resnet20", **SMALL)
    ratios = {"stage2.*.second": 0.6, **PRESETS["qpsnn-resnet20-larger"].ratios}
    prune_(net, ratios=ratios, orders=orders_of(net))
    assert f"{qpsnn_model_size(describe(net), 8) / 1e6:.2f}" != "6.27"


def test_a_preset_of_another_model_is_refused():
    net = create_model("vgg16", **CIFAR)
    with pytest.raises(ValueError, match="are for the model vggsnn; the network is a vgg16"):
        prune_(net, ratios="qpsnn-vggsnn-0.9M", orders=orders_of(net))
    with pytest.raises(ValueError, match="no ratios named 'qpsnn'; there are qpsnn-resnet20-larger"):
        prune_(net, ratios="qpsnn", orders=orders_of(net))


def test_pruned_membranes_are_smaller_too():
    torch.manual_seed(0)
    net = create_model("resnet20", spec="2w4u", first=20, widths=(20, 40, 80), **SMALL)
    before = measure(net).memory
    report = prune_(net, ratios="qpsnn-resnet20-smaller", orders=orders_of(net))
    after = measure(net).memory
    assert (report.memory_before, report.memory_after) == (before.total, after.total)
    assert after.membrane_all < 0.75 * before.membrane_all
    assert after.channels < before.channels
