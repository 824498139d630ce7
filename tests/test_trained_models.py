"""The committed models: every spike of the three executions on real test images, and the accuracy they claim."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from bitspike import IntegerNet, certify, lower, real_form
from bitspike.block import SpikingBlock
from bitspike.block.base import watching
from bitspike.data import dataset_info
from bitspike.engine import builds
from bitspike.integer.file import Contents, to_bytes
from bitspike.runtime.certificate import certificate_in_words
from bitspike.runtime.state import fingerprint
from bitspike.train import evaluate, evaluate_integers, load_data, load_model
from bitspike.train.config import Recipe

MODELS = sorted((Path(__file__).parent.parent / "models").glob("*.safetensors"))


FIRST = {"qsnn-mnist-1w2u": 2000, "qsnn-fashion-1w2u": 1000, "qpsnn-fashion-2w": 500}
"""Images that go through all forms; all of them go through the reference, the engine and C in tests/export."""

CERTIFIED_WHOLE = {"qpsnn-fashion-2w": 10_000}
"""Networks whose certificate is of all test images."""


def watched(net, samples):
    """Spikes of every spiking layer and the result of one run."""
    seen = []
    with torch.no_grad(), watching(lambda block, _, result: seen.append((block, result))):
        logits = net(samples)
    return {block.label: spikes.bool() for block, spikes in seen if isinstance(block, SpikingBlock)}, logits


@pytest.mark.parametrize("path", sorted(MODELS[0].parent.rglob("q*snn-*.bsp")), ids=lambda path: path.stem)
def test_certificates_of_before_know_their_networks(path):
    """What a network is known by stays as it is, whatever is added to what networks may have."""
    file = IntegerNet.load(path)
    assert file.about.certificate["sha256"]["network"] == fingerprint(file.graph)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_all_forms_agree_in_every_spike_on_the_test_set(path):
    net, header = load_model(path)
    recipe = Recipe.from_dict(header.recipe)
    if not dataset_info(recipe.data.name)["present"]:
        pytest.skip(f"the data set {recipe.data.name} is not here; set BITSPIKE_DATA")
    data = load_data(recipe, "test")
    integer = lower(net)
    correct = sum(int((integer.predict(x).argmax(1) == labels).sum()) for x, labels in data.batches(256))
    assert correct / len(data) == header.results["test_accuracy"]
    data = data.subset(slice(0, FIRST.get(path.stem, len(data))))
    for inputs, _ in data.batches(32):
        samples = torch.tensor(inputs)
        as_integers, logits = watched(net, samples)
        with real_form(net):
            as_reals, _ = watched(net, samples)
        reference = integer.on("reference").spikes(inputs)
        for name, spikes in as_integers.items():
            assert torch.equal(spikes, as_reals[name]), f"the real form differs at {name}"
            assert torch.equal(spikes, torch.from_numpy(reference[name]).bool()), f"the lowered net differs at {name}"
        for name, value in integer.spikes(inputs).items():
            assert np.array_equal(value, reference[name]), f"what runs networks here differs at {name}"
        node = integer.graph.readout
        expected = reference[node.name].sum(0) + node.bias
        assert torch.equal(torch.round(logits.sum(0) / (node.unit * node.time_steps)).long(), torch.tensor(expected))
        assert (integer.predict(inputs) == expected).all()

        state = integer.state()
        for t in range(node.time_steps):
            stepped = integer.step(inputs[t] if data.kind == "events" else inputs, state)
        assert (stepped == expected).all(), "step by step differs"


def test_models_are_small_and_say_where_they_come_from():
    assert MODELS
    for path in MODELS:
        _, header = load_model(path)
        assert path.stat().st_size <= 1_000_000
        assert {"test_accuracy", "firing_rates"} <= set(header.results)
        assert {"seed", "versions", "identity"} <= set(header.provenance)


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_integer_file_is_what_lowering_gives_now(path):
    file = IntegerNet.load(path.with_suffix(".bsp"))
    net, header = load_model(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = lower(net)
    assert to_bytes(Contents(again.graph, again.notes, file.about)) == path.with_suffix(".bsp").read_bytes()
    assert file.about.provenance["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert file.about.results["test_accuracy"] == header.results["test_accuracy"]
    assert path.with_suffix(".bsp").stat().st_size < path.stat().st_size / 5


@pytest.mark.data
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_integer_file_answers_as_the_network_does(path):
    net, header = load_model(path)
    recipe = Recipe.from_dict(header.recipe)
    if not dataset_info(recipe.data.name)["present"]:
        pytest.skip(f"the data set {recipe.data.name} is not here; set BITSPIKE_DATA")
    data = load_data(recipe, "test").subset(slice(0, 200))
    found = evaluate_integers(IntegerNet.load(path.with_suffix(".bsp")), data)
    expected = evaluate(net, data)
    assert (found.accuracy, found.firing_rates) == (expected.accuracy, expected.firing_rates)
    assert (found.confusion == expected.confusion).all()


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_certificate_is_of_this_network(path):
    file = IntegerNet.load(path.with_suffix(".bsp"))
    found = file.about.certificate
    holds, line = certificate_in_words(file.graph, found)
    assert holds, line
    assert found["differences"] == 0
    assert all("this processor cannot run it" in text for text in found["missing"])
    assert found["data"]["fingerprint"] == file.about.provenance["test_fingerprint"]
    assert found["samples"] == CERTIFIED_WHOLE.get(path.stem, min(256, found["data"]["samples"]))
    neurons = {each["spikes"] for each in found["compared"]}
    assert len(neurons) == 1
    assert neurons.pop() >= found["samples"] * file.graph.readout.time_steps * len(file.graph.spiking)
    kernels = {(each["runner"], each["order"]): each["kernels"] for each in found["compared"]}
    assert {f"engine {build}" for build in ("avx2", "baseline")} <= {runner for runner, _ in kernels}
    for build in {runner.removeprefix("engine ") for runner, _ in kernels if runner.startswith("engine ")}:
        assert kernels[f"engine {build}", "layers"] == ["auto", "planes", "dense", "lanes"]
        assert kernels[f"engine {build}", "steps"] == ["auto"]
    assert ("compiled C", "steps") in kernels


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_certifying_again_gives_the_same_hashes(path):
    file = IntegerNet.load(path.with_suffix(".bsp"))
    recipe = Recipe.from_dict(file.about.provenance["recipe"])
    if not dataset_info(recipe.data.name)["present"]:
        pytest.skip(f"the data set {recipe.data.name} is not here; set BITSPIKE_DATA")
    stored = file.about.certificate
    if path.stem in CERTIFIED_WHOLE:
        pytest.skip("its certificate is of the whole test set, which takes a core ten minutes")
    again = certify(file, load_data(recipe, "test"), count=stored["samples"], builds=builds()[:1], kernels=["auto"])
    assert dict(again.sha256) == stored["sha256"]
    assert again.data == stored["data"]
