"""Rates measured on a network of ours lead to the additions that its layers really make."""

import pytest
import torch

from bitspike.measuring import measure
from bitspike.model import create_model


def test_additions_of_the_readout_are_counted_exactly():
    torch.manual_seed(3)
    net = create_model("small8", spec="1w2u").eval()
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    spikes = []
    net.flatten.register_forward_hook(lambda _module, _inputs, result: spikes.append(result))
    with torch.no_grad():
        net(images)
    additions = float(spikes[0].sum()) * 10 / 5  # every spike meets ten weights; five images
    table = measure(net, [images[:2], images[2:]])
    assert additions > 0
    assert table.operations.layers[-1].synaptic == pytest.approx(additions)
    assert table.operations.multiplications == 9 * 16 * 64
    assert table.energy is not None
    assert table.energy.multiply_joules == pytest.approx(9 * 16 * 64 * 4.6e-12)


def test_a_convolved_skip_is_counted_by_its_own_rate():
    torch.manual_seed(4)
    net = create_model("resnet19", input_shape=(3, 8, 8), spec="1w2u").eval()
    table = measure(net, [torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)])
    rows = {row.name: row for row in table.rows}
    assert rows["stage2.0.second.skip"].input_rate == rows["stage1.2.second"].output_rate
    assert rows["stage2.0.second"].input_rate == rows["stage2.0.first"].output_rate
    assert table.operations.synaptic is not None


def test_without_samples_no_rate_is_made_up():
    table = measure(create_model("small28", spec="1w2u"))
    assert table.operations.synaptic is None
    assert table.energy is None
    assert table.memory.total < table.float_memory.total / 4
