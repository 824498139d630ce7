"""All test images through the compiled C and the engine: every spike is the reference's."""

from pathlib import Path

import numpy as np
import pytest
from compiled_reference import need_compiler

from bitspike import IntegerNet
from bitspike.data import dataset_info, load
from bitspike.engine import builds
from bitspike.export import CompiledNet
from bitspike.integer.run import State, advance, frames

MODELS = Path(__file__).parents[2] / "models"
AT_ONCE = 100


def reference_spikes(net, samples):
    """Values of all nodes and logits, from integer/ops.py."""
    import torch

    values = {}
    logits = advance(net.graph, frames(net.graph, torch.tensor(samples)), State(), values.__setitem__)
    return {name: value.numpy() for name, value in values.items()}, logits.numpy()


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("data", ["digits", "mnist", "fashion-mnist"])
def test_every_spike_of_every_test_image(data):
    need_compiler()
    if not dataset_info(data)["present"]:
        pytest.skip(f"the data set {data} is not here; set BITSPIKE_DATA")
    net = IntegerNet.load(MODELS / f"qsnn-{data.removesuffix('-mnist')}-1w2u.bsp")
    compiled = CompiledNet(net, reuse_input=True)
    images = load(data, "test").inputs
    seen = 0
    for first in range(0, len(images), AT_ONCE):
        samples = images[first : first + AT_ONCE]
        found = compiled.run(samples)
        values, logits = reference_spikes(net, samples)
        assert np.array_equal(found.logits, logits)
        engine = net.spikes(samples) if builds() else values
        assert np.array_equal(net.predict(samples) if builds() else logits, logits)
        for node in net.graph.spiking:
            assert np.array_equal(engine[node.name], values[node.name]), f"engine, {node.name}, images from {first}"
            assert np.array_equal(found.values[node.name], values[node.name]), f"{node.name}, images from {first}"
            seen += found.values[node.name].size
    assert seen == len(images) * 4 * (1536 if data == "digits" else 37632)
