"""A skip with its own batch norm: free in a float network, held at a power of two where integers will come of it."""

import torch
import torch.nn.functional as F

from bitspike.block import ConvSkip, SpikingConv2d
from bitspike.block.native import plain
from bitspike.neuron import lif
from bitspike.spec import MembraneSpec, WeightSpec


def block_and_operands():
    generator = torch.Generator().manual_seed(3)
    block = SpikingConv2d(3, 5, stride=2, skip=ConvSkip(4, stride=2, norm="own"))
    for parameter in block.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    value = (torch.rand(2, 6, 3, 8, 8, generator=generator) < 0.3).float()
    skip = (torch.rand(2, 6, 4, 8, 8, generator=generator) < 0.3).float()
    return block, value, skip


def published(block, value, skip):
    """Two convolutions, two batch norms, their sum."""
    main = F.conv2d(value.flatten(0, 1), block.weight, None, 2, 1)
    side = F.conv2d(skip.flatten(0, 1), block.skip_weight, None, 2, 0)
    main = F.batch_norm(main, None, None, block.norm.weight, block.norm.bias, True)
    side = F.batch_norm(side, None, None, block.skip_norm.weight, block.skip_norm.bias, True)
    return (main + side).reshape(2, 6, 5, 4, 4)


def test_a_float_network_is_the_published_one():
    block, value, skip = block_and_operands()
    assert torch.equal(block(value, skip), lif(published(block, value, skip), MembraneSpec()))


def test_float_evaluation_uses_the_running_statistics_of_both():
    block, value, skip = block_and_operands()
    for _ in range(300):
        block(value, skip)
    assert torch.allclose(
        block.skip_norm.running_mean,
        F.conv2d(skip.flatten(0, 1), block.skip_weight, None, 2, 0).mean((0, 2, 3)),
        atol=1e-5,
    )
    trained = block(value, skip)
    assert (block.eval()(value, skip) == trained).float().mean() > 0.99


def test_a_quantized_layer_holds_the_ratio_of_its_gains():
    block, value, skip = block_and_operands()
    block.weight_spec, block.membrane_spec = WeightSpec(bits=8), MembraneSpec(bits=8)
    block(value, skip)
    weights = block.quantized()
    channels = block.channels(weights)
    assert torch.equal(channels.ratio, channels.ratio.round())
    exact = torch.log2(
        weights.skip.scale.double()
        * block.skip_norm.gamma.double().abs()
        / torch.sqrt(block.skip_norm.running_var.double() + block.skip_norm.eps)
        / channels.gain
    )
    assert (channels.ratio - exact).abs().max() <= 0.5


def test_gradients_of_one_sample_in_one_step():
    """torch's batch norm sums the gradient of a batch of one wrongly where it has another layout than its input."""
    block, value, skip = block_and_operands()
    with plain():
        block(value[:1, :1], skip[:1, :1]).pow(2).sum().backward()
    assert block.norm.bias.grad.any()
    assert torch.equal(block.skip_norm.bias.grad, block.norm.bias.grad)
