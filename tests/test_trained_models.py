"""The committed models: every spike of the three executions on real test images, and the accuracy they claim."""

from pathlib import Path

import pytest
import torch

from bitspike import lower, real_form
from bitspike.block import SpikingBlock
from bitspike.block.base import watching
from bitspike.data import dataset_info
from bitspike.train import load_data, load_model
from bitspike.train.config import Recipe

MODELS = sorted((Path(__file__).parent.parent / "models").glob("*.safetensors"))


def watched(net, samples):
    """Spikes of every spiking layer and the result of one run."""
    seen = []
    with torch.no_grad(), watching(lambda block, _, result: seen.append((block, result))):
        logits = net(samples)
    return {block.label: spikes.bool() for block, spikes in seen if isinstance(block, SpikingBlock)}, logits


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_all_forms_agree_in_every_spike_on_the_whole_test_set(path):
    net, header = load_model(path)
    recipe = Recipe.from_dict(header.recipe)
    if not dataset_info(recipe.data.name)["present"]:
        pytest.skip(f"the data set {recipe.data.name} is not here; set BITSPIKE_DATA")
    data = load_data(recipe, "test")
    integer = lower(net)
    correct = 0
    for inputs, labels in data.batches(32):
        samples = torch.tensor(inputs)
        as_integers, logits = watched(net, samples)
        with real_form(net):
            as_reals, _ = watched(net, samples)
        reference = integer.spikes(inputs)
        for name, spikes in as_integers.items():
            assert torch.equal(spikes, as_reals[name]), f"the real form differs at {name}"
            assert torch.equal(spikes, torch.from_numpy(reference[name]).bool()), f"the lowered net differs at {name}"
        node = integer.graph.readout
        expected = reference[node.name].sum(0) + node.bias
        assert torch.equal(torch.round(logits.sum(0) / (node.unit * node.time_steps)).long(), torch.tensor(expected))
        correct += int((expected.argmax(1) == labels).sum())

        state = integer.state()
        for t in range(node.time_steps):
            stepped = integer.step(inputs[t] if data.kind == "events" else inputs, state)
        assert (stepped == expected).all(), "step by step differs"
    assert correct / len(data) == header.results["test_accuracy"]


def test_models_are_small_and_say_where_they_come_from():
    assert MODELS
    for path in MODELS:
        _, header = load_model(path)
        assert path.stat().st_size <= 1_000_000
        assert {"test_accuracy", "firing_rates"} <= set(header.results)
        assert {"seed", "versions", "identity"} <= set(header.provenance)
