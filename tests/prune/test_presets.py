"""QP-SNN's networks as they are after pruning ours: every printed size and count, to the last digit."""

import pytest
import torch

from bitspike import create_model, measure
from bitspike.cost import qpsnn_model_size
from bitspike.measuring import describe
from bitspike.prune import PRESETS, prunable_channels, prune_
from bitspike.train import ModelHeader, load_model, save_model

SMALL = {"input_shape": (3, 8, 8), "time_steps": 1}  # ResNet20's sizes do not depend on the image
CIFAR = {"input_shape": (3, 32, 32), "time_steps": 1}
TINY = {"input_shape": (3, 64, 64), "time_steps": 1, "classes": 200}
EVENTS = {"input_shape": (2, 48, 48), "time_steps": 1, "bound": 1}  # two channels and ten classes, as the data are

TABLE_1 = [
    ("qpsnn-resnet20-larger", {**SMALL, "classes": 10}, "6.27 3.16 1.61"),
    ("qpsnn-resnet20-smaller", {**SMALL, "classes": 10}, "3.92 1.98 1.02"),
    ("qpsnn-resnet20-larger", {**SMALL, "classes": 100}, "6.45 3.35 1.79"),
    ("qpsnn-resnet20-smaller", {**SMALL, "classes": 100}, "4.10 2.17 1.20"),
    ("qpsnn-vgg16-cifar10-4.25M", {**CIFAR, "classes": 10}, "4.28 2.16 1.10"),
    ("qpsnn-vgg16-cifar10-1.42M", {**CIFAR, "classes": 10}, "1.45 0.74 0.39"),
    ("qpsnn-vgg16-cifar100-2.31M", {**CIFAR, "classes": 100}, "2.48 1.35 0.79"),
    ("qpsnn-vgg16-cifar100-1.68M", {**CIFAR, "classes": 100}, "1.85 1.04 0.63"),
    ("qpsnn-vgg16-tinyimagenet-4.65M", TINY, "5.90 3.78 2.72"),
    ("qpsnn-vgg16-tinyimagenet-3.43M", TINY, "4.67 3.17 2.41"),
    ("qpsnn-vggsnn-1.46M", EVENTS, "1.61 0.90 0.55"),
    ("qpsnn-vggsnn-0.9M", EVENTS, "1.05 0.62 0.41"),
    ("qpsnn-vggsnn-0.25M", EVENTS, "0.40 0.29 0.24"),
]


def orders_of(net):
    return {name: range(channels) for name, channels in prunable_channels(net).items()}


@pytest.mark.parametrize(("preset", "options", "printed"), TABLE_1)
def test_table_1(preset, options, printed, tmp_path):
    model = PRESETS[preset].model
    net = create_model(model, **options)
    report = prune_(net, ratios=preset, orders=orders_of(net))
    assert report.layers[-1].ratio == 0
    save_model(net, tmp_path / "model.safetensors", ModelHeader(model, options))
    rows = describe(load_model(tmp_path / "model.safetensors")[0])
    sizes = [f"{qpsnn_model_size(rows, bits) / 1e6:.2f}" for bits in (8, 4, 2)]
    assert " ".join(sizes) == printed
    assert report.parameters_after == sum(row.parameters for row in rows)
    named = preset.rsplit("-", 1)[1]
    if named.endswith("M") and named != "0.25M":  # that one is named without its batch norms
        decimals = len(named.removesuffix("M").partition(".")[2])
        assert f"{report.parameters_after / 1e6:.{decimals}f}M" == named


def test_every_preset_is_checked():
    assert {preset for preset, _, _ in TABLE_1} == set(PRESETS)


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
