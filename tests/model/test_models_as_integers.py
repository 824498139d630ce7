"""Every registered network with statistics of its own: all forms agree in every spike."""

import numpy as np
import pytest
import torch

from bitspike import lower, real_form
from bitspike.block import SpikingBlock
from bitspike.block.base import watching
from bitspike.block.norm import ChannelNorm
from bitspike.model import create_model, list_models

SMALL = {
    "resnet18": {"input_shape": (3, 32, 32), "classes": 10},
    "resnet19": {"input_shape": (3, 8, 8)},
    "resnet20": {"input_shape": (3, 8, 8), "first": 16, "widths": (16, 32, 64)},
    "vgg16": {"input_shape": (3, 32, 32)},
    "vggsnn": {"input_shape": (2, 16, 16)},
}
"""The published networks at the smallest input they take, ResNet20 in its slim form; the others as they are."""


def network(name, spec):
    generator = torch.Generator().manual_seed(5)
    net = create_model(name, spec=spec, time_steps=3, **SMALL.get(name, {}))
    for module in net.modules():
        if isinstance(module, ChannelNorm):
            count = module.weight.numel()
            module.weight.data = 1 + 0.3 * torch.randn(count, generator=generator)
            module.weight.data[::7] *= -1
            module.bias.data = 0.3 + 0.3 * torch.randn(count, generator=generator)
    samples = batch(net, generator)
    net.train()
    with torch.no_grad():
        for _ in range(3):  # running statistics of real activity, so that layers fire
            net(samples)
    return net.eval(), samples


def batch(net, generator):
    entry = net.input
    shape = (2, *entry.shape) if type(entry).__name__ == "ImageInput" else (3, 2, *entry.shape)
    high = 256 if len(shape) == 4 else 4
    return torch.randint(0, high, shape, dtype=torch.uint8, generator=generator)


def spikes(net, samples):
    seen = {}

    def note(block, _, result):
        if isinstance(block, SpikingBlock):
            seen[block.label] = result.numpy().astype(np.int64)

    with torch.no_grad(), watching(note):
        logits = net(samples)
    return seen, logits


@pytest.mark.parametrize("spec", ["1w2u", "4w4u"])
@pytest.mark.parametrize("name", list_models())
def test_all_forms_agree(name, spec):
    net, samples = network(name, spec)
    integer = lower(net)
    as_integers, logits = spikes(net, samples)
    with real_form(net):
        as_reals, _ = spikes(net, samples)
    reference = integer.spikes(samples.numpy())
    assert len(as_integers) == sum(isinstance(module, SpikingBlock) for module in net.modules())
    for layer, ours in as_integers.items():
        assert np.array_equal(ours, as_reals[layer]), f"the real form differs at {layer}"
        assert np.array_equal(ours, reference[layer]), f"the lowered network differs at {layer}"
    assert any(0.01 < ours.mean() < 0.99 for ours in list(as_integers.values())[-2:]), "the last layers are silent"
    node = integer.graph.readout
    predicted = integer.predict(samples.numpy())
    assert np.array_equal((logits.sum(0) / (node.unit * node.time_steps)).round().long().numpy(), predicted)

    state = integer.state()
    for t in range(3):
        stepped = integer.step(samples[t].numpy() if samples.dim() == 5 else samples.numpy(), state)
    assert np.array_equal(stepped, predicted)
