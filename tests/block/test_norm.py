import torch
from torch import nn

from bitspike.block.fold import GAIN_FLOOR
from bitspike.block.norm import ChannelNorm


def test_equals_torch_batch_norm_in_both_modes():
    torch.manual_seed(0)
    ours, theirs = ChannelNorm(3), nn.BatchNorm2d(3)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 0.7)
        nn.init.constant_(norm.bias, -0.2)
    value = torch.randn(4, 3, 5, 5) * 3 + 1
    assert torch.allclose(ours(value, batch=True), theirs(value), atol=1e-6)
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)
    assert torch.allclose(ours(value, batch=False), theirs.eval()(value), atol=1e-6)


def test_statistics_of_the_batch_update_as_forward_does():
    value = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    one, two = ChannelNorm(2), ChannelNorm(2)
    one(value, batch=True)
    mean, variance = two.batch_statistics(value)
    assert torch.allclose(one.running_mean, two.running_mean)
    assert torch.allclose(one.running_var, two.running_var)
    assert torch.allclose(mean, value.mean((0, 2, 3)))
    assert torch.allclose(variance, value.var((0, 2, 3), unbiased=False))


def test_gamma_never_reaches_zero_and_keeps_its_sign_and_gradient():
    norm = ChannelNorm(6)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.0, -0.0, 1e-9, -1e-9, -0.5, 0.5]))
    floor = torch.tensor(GAIN_FLOOR).item()
    assert norm.gamma.tolist() == [floor, floor, floor, -floor, -0.5, 0.5]
    norm.gamma.sum().backward()
    assert norm.weight.grad.tolist() == [1.0] * 6
