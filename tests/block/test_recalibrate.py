import pytest
import torch

from bitspike import recalibrate_
from bitspike.block import ConvSkip, SpikingConv2d
from bitspike.block.training import weighted
from networks import ImageNet, images


def test_statistics_become_the_mean_over_the_batches():
    net = ImageNet("4w4u").eval()
    with torch.no_grad():
        net.first.norm.running_mean.fill_(77.0)
        net.second.norm.running_var.fill_(1e9)
    batches = [images(6, seed) for seed in range(3)]
    assert recalibrate_(net, batches) == 3
    codes, scale = net.first.quantized().main
    means, variances = [], []
    for batch in batches:
        pixels = net.input(batch)
        sums = weighted(
            pixels, (codes * scale.reshape(-1, 1, 1, 1) * net.first.input_scale).detach(), net.first.window
        )[0]
        means.append(sums.mean((0, 2, 3)))
        variances.append(sums.var((0, 2, 3), unbiased=True))
    assert torch.allclose(net.first.norm.running_mean, torch.stack(means).mean(0), atol=1e-4)
    assert torch.allclose(net.first.norm.running_var, torch.stack(variances).mean(0), rtol=1e-4)
    assert float(net.second.norm.running_var.max()) < 1e3
    assert not net.training
    assert net.first.norm.momentum == 0.1


def test_modes_of_parts_come_back():
    net = ImageNet().train()
    net.first.eval()
    recalibrate_(net, [images()])
    assert net.training
    assert net.second.training
    assert not net.first.training


def test_no_batches_are_refused_and_leave_all_as_it_was():
    net = ImageNet().eval()
    before = net.first.norm.running_mean.clone()
    with pytest.raises(ValueError, match="no batches were given"):
        recalibrate_(net, [])
    assert torch.equal(net.first.norm.running_mean, before)
    assert net.first.norm.momentum == 0.1


def test_an_error_in_the_middle_leaves_mode_and_momentum():
    net = ImageNet().eval()
    with pytest.raises(TypeError, match="it takes uint8"):
        recalibrate_(net, [images(), images().float()])
    assert net.first.norm.momentum == 0.1
    assert not net.training
    assert not net.first.training


def test_the_skips_own_norm_is_estimated_too():
    block = SpikingConv2d(2, 3, skip=ConvSkip(2, norm="own"))
    with torch.no_grad():
        block.skip_norm.running_mean.fill_(50.0)

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.block = block

        def forward(self, value):
            return self.block(value, value)

    value = torch.rand(2, 4, 2, 5, 5).round()
    recalibrate_(Twice(), [value])
    sums = weighted(value, block.skip_weight.detach(), block.skip_window).flatten(0, 1)
    assert torch.allclose(block.skip_norm.running_mean, sums.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(block.skip_norm.running_var, sums.var((0, 2, 3)), rtol=1e-4)
