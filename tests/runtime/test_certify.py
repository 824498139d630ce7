"""Certificates: what they say, and that a single wrong number in any participant is found and named."""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_net_evaluation import event_data, image_data

from bitspike import IntegerNet, certify, lower
from bitspike.engine import KERNELS, Engine, builds
from bitspike.export import CompiledNet
from bitspike.integer.file import replace_certificate
from bitspike.integer.graph import Flatten, Graph, Input, Readout
from bitspike.integer.shapes import shapes
from bitspike.runtime import DifferenceFound, certificate, participants, state
from bitspike.runtime.difference import Watched, first_difference
from bitspike.runtime.reference import Reference
from needed_tools import need_tool
from networks import EventNet, ImageNet, events, images

needs_engine = pytest.mark.skipif(not builds(), reason="no engine was built with this installation")

NAMES = {"spike": "second", "membrane": "first", "logit": "readout"}


@pytest.fixture(scope="module")
def net():
    return lower(ImageNet())


@pytest.fixture(scope="module")
def event_net():
    return lower(EventNet())


def compiler():
    return need_tool("gcc")


# What a certificate says


def rows(found):
    return {(each.runner, each.order): each for each in found.compared}


def test_everything_that_runs_here_is_compared(net):
    compiler()
    found = certify(net, images(5).numpy())
    expected = {("reference", "layers"), ("compiled C", "steps"), ("compiled C, input sums kept", "steps")}
    expected |= {(f"engine {build}", order) for build in builds() for order in ("layers", "steps")}
    assert set(rows(found)) == expected
    for build in builds():
        assert rows(found)[f"engine {build}", "layers"].kernels == KERNELS
        assert rows(found)[f"engine {build}", "steps"].kernels == ("auto",)
    neurons = sum(math.prod(shapes(net.graph)[node.name]) for node in net.graph.spiking)
    for (runner, order), each in rows(found).items():
        assert each.spikes == 5 * 3 * neurons
        assert each.membranes == (0 if runner == "reference" else each.spikes)
        # After the last step or after each of the 3, 4 classes, watched and not.
        watched, unwatched = (3, 3) if order == "steps" else (1, 1)
        unwatched = 1 if runner.startswith("compiled") else unwatched
        assert each.logits == 5 * 4 * (watched + unwatched)
    assert (found.samples, found.differences, found.data) == (5, 0, None)


def test_hashes_are_what_anyone_can_compute(event_net):
    samples = events(3, 5).numpy()
    found = certify(event_net, samples, compiled=False) if builds() else certify(event_net, samples)
    run = Reference(event_net.graph).run(samples, membranes=False)
    spikes = hashlib.sha256()
    for one in range(5):
        for node in event_net.graph.spiking:
            flat = run.values[node.name][:, one].reshape(-1).tolist()
            for begin in range(0, len(flat), 8):
                spikes.update(bytes([sum(bit << k for k, bit in enumerate(flat[begin : begin + 8]))]))
    assert found.sha256 == {
        "network": state.fingerprint(event_net.graph),
        "samples": hashlib.sha256(np.moveaxis(samples, 1, 0).tobytes()).hexdigest(),
        "logits": hashlib.sha256(run.logits.astype("<i8").tobytes()).hexdigest(),
        "spikes": spikes.hexdigest(),
    }


@pytest.mark.parametrize(("name", "samples"), [("net", images(7).numpy()), ("event_net", events(3, 7).numpy())])
def test_the_size_of_batches_leaves_no_trace(request, name, samples):
    chosen = request.getfixturevalue(name)
    done = []
    one = certify(chosen, samples, batch=3, advance=done.append).to_dict()
    two = certify(chosen, samples).to_dict()
    assert done == [3, 3, 1]
    assert {**one, "date": ""} == {**two, "date": ""}


@pytest.mark.parametrize(("make", "data"), [(ImageNet, image_data(9)), (EventNet, event_data(9))])
def test_samples_of_a_data_set_are_spread_evenly(make, data):
    chosen = lower(make())
    found = certify(chosen, data, count=3)
    assert found.samples == 3
    assert found.data == {"name": "made", "split": "test", "samples": 9, "fingerprint": data.fingerprint}
    assert found.sha256["samples"] == hashlib.sha256(data.inputs[[0, 4, 8]].tobytes()).hexdigest()
    assert certify(chosen, data, count=100).samples == 9


def test_versions_and_machine_are_told(net):
    compiler()
    found = certify(net, images(1).numpy())
    assert {"bitspike", "python", "numpy", "torch", "compiler"} == set(found.versions)
    assert all(found.versions.values())
    assert found.machine
    assert found.date.endswith("+00:00")


def test_it_lives_in_the_file(net, tmp_path):
    file = tmp_path / "x.bsp"
    net.save(file)
    assert IntegerNet.load(file).about.certificate is None
    made = certify(net, images(2).numpy()).to_dict()
    replace_certificate(file, made)
    again = IntegerNet.load(file)
    assert again.about.certificate == made
    assert certificate.certificate_in_words(again.graph, made) == (
        True,
        f"certified on 2 samples, {made['date'][:10]}",
    )


# What is missing


@needs_engine
def test_what_was_left_out_is_said(net):
    best, *others = builds()
    found = certify(net, images(1).numpy(), builds=[best], kernels=["dense", "lanes"], compiled=False)
    assert {text for text in found.missing if "this processor cannot run it" not in text} == {
        *(f"engine {name}: left out as asked" for name in others),
        "kernel auto: left out as asked",
        "kernel planes: left out as asked",
        "compiled C: left out as asked",
    }
    assert rows(found)[f"engine {best}", "steps"].kernels == ("dense",)


@needs_engine
def test_without_a_compiler_the_engine_alone_is_compared(net, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = certify(net, images(1).numpy())
    absent = [text for text in found.missing if "this processor cannot run it" not in text]
    assert [text.partition(":")[0] for text in absent] == ["compiled C", "compiled C, input sums kept"]
    assert all("installed" in text for text in absent)
    assert {each.runner for each in found.compared} == {"reference", *(f"engine {name}" for name in builds())}
    assert "compiler" not in found.versions


def test_without_an_engine_the_c_export_alone_is_compared(net, monkeypatch):
    compiler()
    monkeypatch.setattr(participants, "builds", lambda: ())
    found = certify(net, images(1).numpy())
    assert found.missing == ("engine: none was built with this installation",)
    assert {each.runner for each in found.compared} == {"reference", "compiled C", "compiled C, input sums kept"}
    with pytest.raises(RuntimeError, match="nothing to compare the reference with"):
        certify(net, images(1).numpy(), compiled=False)


def test_a_library_that_cannot_be_used_is_missing(net, monkeypatch):
    compiler()

    def broken():
        raise participants.UnusableLibrary("the engine x.so cannot be loaded")

    monkeypatch.setattr(participants, "builds", broken)
    assert certify(net, images(1).numpy()).missing == ("engine: the engine x.so cannot be loaded",)


@needs_engine
def test_an_engine_that_refuses_the_network_is_missing():
    entry = Input("entry", "events", (1, 9000, 1), 1, (0,), 1, 1.0)
    readout = Readout("readout", "flat", np.ones((2, 9000), np.int8), np.zeros(2, np.int32), 1.0, 1)
    high = IntegerNet(Graph((entry, Flatten("flat", "entry"), readout)))
    found = certify(high, np.ones((1, 1, 1, 9000, 1), np.uint8), builds=builds()[:1], kernels=["auto"])
    refused = "the engine refuses this network: entry: height is 9000; allowed: 1 to 8192"
    assert f"engine {builds()[0]}, kernel auto: {refused}" in found.missing
    assert [each.runner for each in found.compared] == ["reference", "compiled C"]


@needs_engine
def test_a_build_for_other_processors_is_missing(net, monkeypatch):
    best, *others = builds()
    if not others:
        pytest.skip("the engine has one build only")
    monkeypatch.setattr(participants, "builds", lambda: tuple(others))
    found = certify(net, images(1).numpy(), kernels=["auto"], compiled=False)
    assert f"engine {best}: this processor cannot run it" in found.missing
    assert (f"engine {best}", "layers") not in rows(found)


def test_without_torch_it_refuses(net, monkeypatch):
    monkeypatch.delitem(sys.modules, "bitspike.runtime.reference")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs torch: pip install 'bitspike\[train\]'"):
        certify(net, images(1).numpy())


@pytest.mark.parametrize(
    ("samples", "options", "error", "message"),
    [
        (images(0).numpy(), {}, ValueError, "there are no samples"),
        (images(2).numpy(), {"count": 0}, ValueError, "count is 0"),
        (images(2).numpy(), {"batch": 0}, ValueError, "batch is 0"),
        (images(2).numpy().astype(float), {}, TypeError, "dtype float64"),
        (events(3, 2).numpy(), {}, ValueError, r"\[C, H, W\] = \[2, 6, 6\]"),
        (event_data(), {}, ValueError, "made holds events, the network takes images"),
    ],
)
def test_wrong_samples(net, samples, options, error, message):
    with pytest.raises(error, match=message):
        certify(net, samples, **options)


@needs_engine
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"builds": ["avx1024"]}, "no build 'avx1024'"),
        ({"kernels": ["fast"]}, "kernel is 'fast'"),
        ({"kernels": []}, "kernels are none"),
    ],
)
def test_wrong_participants(net, options, message):
    with pytest.raises(ValueError, match=message):
        certify(net, images(1).numpy(), **options)


# A single wrong number


def spoil(found, what):
    """Flip one number of sample 2: the spike of (channel 1, y 2, x 3), a membrane, a logit; at the last step."""
    if what == "spike":
        found.values["second"][2, 2, 1, 2, 3] ^= 1
    elif what == "membrane":
        found.membranes["first"][1, 2, 4, 5, 0] += 1


class SpoiledEngine(Engine):
    """An engine with one kernel that gives one wrong number."""

    kind = "spike"
    bad = "planes"

    def run(self, samples, **options):
        found = super().run(samples, **options)
        if self.kernel == self.bad:
            spoil(found, self.kind)
            if self.kind == "logit":
                found.logits[2, 3] -= 5
        return found


@needs_engine
@pytest.mark.parametrize(
    ("what", "layer", "step", "neuron", "names"),
    [
        ("spike", "second", 2, (1, 2, 3), "layer second, step 2, sample 2, channel 1, y 2, x 3: the spike is "),
        ("membrane", "first", 1, (4, 5, 0), "layer first, step 1, sample 2, channel 4, y 5, x 0: the membrane is "),
        ("logit", "readout", 2, (3,), "layer readout, step 2, sample 2, class 3: the logit is "),
    ],
)
def test_one_wrong_number_of_a_kernel_is_named(net, monkeypatch, what, layer, step, neuron, names):
    monkeypatch.setattr(participants, "Engine", SpoiledEngine)
    monkeypatch.setattr(SpoiledEngine, "kind", what)
    samples = images(4).numpy()
    with pytest.raises(DifferenceFound) as caught:
        certify(net, samples)
    found = caught.value.difference
    assert (found.runner, found.kernel, found.order) == (f"engine {builds()[0]}", "planes", "layers")
    assert (found.what, found.layer, found.step, found.sample, found.neuron) == (what, layer, step, 2, neuron)
    right = Reference(net.graph).run(samples)
    if what == "logit":
        assert (found.expected, found.found) == (right.logits[2, 3], right.logits[2, 3] - 5)
    else:
        truth = (right.values if what == "spike" else right.membranes)[layer][(step, 2, *neuron)]
        assert (found.expected, found.found) == (truth, 1 - truth if what == "spike" else truth + 1)
    assert names in str(caught.value)
    assert str(caught.value).endswith(f"{found.found}, the reference has {found.expected}")
    assert found.to_dict()["neuron"] == list(neuron)


@needs_engine
def test_the_sample_is_counted_in_the_data_set(net, monkeypatch):
    monkeypatch.setattr(participants, "Engine", SpoiledEngine)
    with pytest.raises(DifferenceFound, match="sample 6, "):  # the third of 0, 3, 6, 9
        certify(net, image_data(10), count=4)


class ForgetfulEngine(Engine):
    """An engine whose carried state loses the sign of one membrane."""

    def membranes(self, states):
        found = super().membranes(states)
        place = tuple(np.argwhere(found["second"] != 0)[0])
        found["second"][place] *= -1
        return found


class SilentEngine(Engine):
    """An engine that answers wrongly when nobody watches."""

    def predict(self, samples):
        return super().predict(samples) + (np.arange(4) == 2)


@needs_engine
@pytest.mark.parametrize(
    ("engine", "message"),
    [
        (ForgetfulEngine, "order of steps: layer second, step 0, sample 0, .*the membrane is"),
        (SilentEngine, "order of layers: layer readout, step 2, sample 0, class 2: the logit is"),
    ],
)
def test_state_and_unwatched_answers_are_compared_too(net, monkeypatch, engine, message):
    monkeypatch.setattr(participants, "Engine", engine)
    with pytest.raises(DifferenceFound, match=message):
        certify(net, images(2).numpy())


class IdleLibrary:
    """The engine's library, except that nothing is computed."""

    def __init__(self, library):
        self.library = library

    def __getattr__(self, name):
        return (lambda *_: None) if name == "bs_predict" else getattr(self.library, name)


class IdleEngine(Engine):
    """An engine that does nothing with one kernel and leaves the memory as it found it."""

    def __init__(self, graph, **options):
        super().__init__(graph, **options)
        if self.kernel == "lanes":
            self._library = IdleLibrary(self._library)


@needs_engine
def test_right_numbers_left_in_memory_are_no_result(net, monkeypatch):
    monkeypatch.setattr(participants, "Engine", IdleEngine)
    with pytest.raises(DifferenceFound, match=r"kernel lanes, .*layer input, step 0, .*the value is -2147483648"):
        certify(net, images(4).numpy())


def with_other_threshold(graph, name, channel):
    """The same network with one threshold that is one lower, so that a spike comes too early somewhere."""

    def changed(node):
        threshold = node.fire.threshold.copy()
        threshold[channel] -= 1 << int(node.fire.shift[channel])
        return replace(node, fire=replace(node.fire, threshold=threshold))

    return Graph(tuple(changed(node) if node.name == name else node for node in graph.nodes))


def compiled_of_another(net, **options):
    return CompiledNet(IntegerNet(with_other_threshold(net.graph, "conv", 1)), **options)


def engine_of_another(graph, **options):
    return Engine(with_other_threshold(graph, "conv", 1), **options)


@pytest.mark.parametrize("who", ["engine", "compiled"])
def test_a_network_with_another_threshold_is_not_the_same(event_net, monkeypatch, who):
    """No number is flipped here: the participant truly computes something else, and its first spike is named."""
    samples = events(3, 40).numpy()
    if who == "engine":
        if not builds():
            pytest.skip("no engine was built with this installation")
        monkeypatch.setattr(participants, "Engine", engine_of_another)
    else:
        compiler()
        monkeypatch.setattr(participants, "builds", lambda: ())
        monkeypatch.setattr("bitspike.export.CompiledNet", compiled_of_another)
    right = Reference(event_net.graph).run(samples)
    wrong = Reference(with_other_threshold(event_net.graph, "conv", 1)).run(samples)
    first = tuple(int(n) for n in np.argwhere(right.values["conv"] != wrong.values["conv"])[0])
    with pytest.raises(DifferenceFound) as caught:
        certify(event_net, samples)
    found = caught.value.difference
    assert (found.what, found.layer, found.step, found.sample) == ("spike", "conv", *first[:2])
    assert found.neuron == first[2:]
    assert (found.expected, found.found) == (0, 1)


# The first of several differences


def watched(graph, samples):
    run = Reference(graph).run(samples)
    return Watched(run.values, run.membranes, [run.logits[None]])


def test_the_first_node_then_the_first_step_is_named(net):
    samples = images(2).numpy()
    expected, found = watched(net.graph, samples), watched(net.graph, samples)
    assert first_difference(net.graph, expected, found) is None
    found.logits[0][0, 1, 2] += 1
    assert first_difference(net.graph, expected, found).what == "logit"
    found.values["second"][0, 0, 0, 0, 0] ^= 1
    assert first_difference(net.graph, expected, found).layer == "second"
    found.values["first"][2, 1, 0, 0, 0] ^= 1
    assert first_difference(net.graph, expected, found).index == (2, 1, 0, 0, 0)
    found.membranes["first"][1, 0, 0, 0, 0] += 1
    place = first_difference(net.graph, expected, found)
    assert (place.what, place.layer, place.index) == ("membrane", "first", (1, 0, 0, 0, 0))
    found.values["first"][1, 1, 0, 0, 0] ^= 1
    assert first_difference(net.graph, expected, found).what == "spike"


def test_what_was_not_recorded_is_no_proof(net):
    samples = images(2).numpy()
    expected, found = watched(net.graph, samples), watched(net.graph, samples)
    del found.values["input"]  # nothing computes it
    assert first_difference(net.graph, expected, found) is None
    del found.membranes["second"]
    with pytest.raises(RuntimeError, match="the membranes of second have shape None"):
        first_difference(net.graph, expected, found)
    found.membranes.clear()  # a run that keeps none, such as the reference layer by layer
    assert first_difference(net.graph, expected, found) is None
    found.values["pool"] = found.values["pool"][:, :1]
    with pytest.raises(RuntimeError, match="the values of pool have shape"):
        first_difference(net.graph, expected, found)
    del found.values["pool"]
    with pytest.raises(RuntimeError, match="the values of pool have shape None"):
        first_difference(net.graph, expected, found)


# Certificates in files from elsewhere


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "certified on 2 samples of digits test, 2026-11-20"),
        ({"data": 5}, "certified on 2 samples, 2026-11-20"),
        ({"data": {"name": "\x1b[31m", "split": "test"}}, "certified on 2 samples, 2026-11-20"),
        ({"samples": True}, "its certificate cannot be read; certify it again (bitspike certify)"),
        ({"samples": 10**30}, "its certificate cannot be read; certify it again (bitspike certify)"),
        ({"date": "\n"}, "its certificate cannot be read; certify it again (bitspike certify)"),
        ({"sha256": {"network": 7}}, "its certificate is of another network; certify this one (bitspike certify)"),
        ({"sha256": []}, "its certificate is of another network; certify this one (bitspike certify)"),
    ],
)
def test_certificates_are_read_with_care(net, changes, line):
    given = {"samples": 2, "data": {"name": "digits", "split": "test"}, "date": "2026-11-20T10:00:00+00:00"}
    given |= {"sha256": {"network": state.fingerprint(net.graph)}} | changes
    assert certificate.certificate_in_words(net.graph, given) == (line.startswith("certified"), line)


def test_of_two_networks_each_has_its_own(net, event_net):
    made = certify(net, images(1).numpy()).to_dict()
    assert certificate.fits(net.graph, made)
    assert not certificate.fits(event_net.graph, made)
    other = with_other_threshold(net.graph, "first", 0)
    assert not certificate.fits(other, made)
