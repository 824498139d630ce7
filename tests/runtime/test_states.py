"""States of streams: what is saved continues, everywhere, and what is not such a state is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from bitspike import IntegerNet, lower
from bitspike.engine import builds
from bitspike.runtime.state import State, fingerprint, packed_bytes
from bitspike.spec import QuantSpec
from networks import EventNet, ImageNet, events, images

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")
RUNNERS = ("reference", *builds())


@pytest.fixture(scope="module", params=["1w2u", "4w4u"])
def net(request) -> IntegerNet:
    return lower(ImageNet(request.param).eval())


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return images(3).numpy()


def told(net: IntegerNet, path) -> str:
    with pytest.raises(ValueError) as caught:
        net.load_state(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("build", RUNNERS)
def test_saved_at_every_step_it_continues(net, samples, tmp_path, build):
    here = net.on(build)
    expected = here.predict(samples)
    for pause in range(1, 4):
        state = here.state()
        for _ in range(pause):
            logits = here.step(samples, state)
        state.save(tmp_path / "state")
        again = here.load_state(tmp_path / "state")
        assert (again.steps, again.batch) == (pause, 3)
        for name, held in state.membranes().items():
            assert np.array_equal(again.membranes()[name], held)
        for _ in range(3 - pause):
            logits = here.step(samples, again)
        assert np.array_equal(logits, expected)


@pytest.mark.parametrize("first", RUNNERS)
@pytest.mark.parametrize("then", RUNNERS)
def test_one_runner_saves_another_goes_on(samples, tmp_path, first, then):
    """Random rounding too: the number of the step is part of the state."""
    spec = QuantSpec.parse("1w4u")
    for rounding in ("nearest", "stochastic"):
        net = lower(ImageNet(replace(spec, membrane=replace(spec.membrane, rounding=rounding))).eval())
        expected = net.on("reference").predict(samples)
        state = net.on(first).state()
        net.on(first).step(samples, state)
        state.save(tmp_path / "state")
        other = net.on(then, kernel="planes") if then != "reference" else net.on(then)
        again = other.load_state(tmp_path / "state")
        other.step(samples, again)
        assert np.array_equal(other.step(samples, again), expected)
        other.step(samples, state)  # and the state itself, without a file
        assert np.array_equal(net.on(first).step(samples, state), expected)


def test_open_streams_go_on_for_ever(tmp_path):
    net = lower(EventNet(time_steps=None, bias=False).eval())
    frames = events(9).numpy()
    expected, state = net.predict(frames), net.state()
    for t, frame in enumerate(frames):
        logits = net.step(frame, state)
        state.save(tmp_path / "state")
        state = net.on(RUNNERS[t % len(RUNNERS)]).load_state(tmp_path / "state")
        assert state.steps == t + 1
    assert np.array_equal(logits, expected)


def test_packed_at_the_bits_of_the_membranes(net, samples, tmp_path):
    bits = {3: 3, 1: 2, 7: 4}
    state = net.state()
    net.step(samples, state)
    state.save(tmp_path / "state")
    with safe_open(str(tmp_path / "state"), framework="numpy") as opened:
        for node in net.graph.spiking:
            planes = opened.get_tensor(f"membrane/{node.name}")
            neurons = 3 * 5 * 6 * 6
            assert planes.shape == (bits[node.fire.levels], (neurons + 7) // 8)
    assert packed_bytes(net.graph) == sum(bits[node.fire.levels] * ((5 * 36 + 7) // 8) for node in net.graph.spiking)
    assert f"{packed_bytes(net.graph)} bytes each" in repr(state)


def test_reset_is_a_new_state(net, samples):
    state = net.state()
    for _ in range(2):
        net.step(samples, state)
    state.reset()
    assert (state.steps, state.batch, state.membranes()) == (0, None, {})
    for _ in range(3):
        logits = net.step(samples[:2], state)
    assert np.array_equal(logits, net.predict(samples[:2]))


def test_nothing_to_save_and_nothing_to_load(net, tmp_path):
    with pytest.raises(ValueError, match="this state has not seen a step; there is nothing to save"):
        net.state().save(tmp_path / "state")
    assert not (tmp_path / "state").exists()
    for missing in (tmp_path / "state", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            net.load_state(missing)


def test_no_samples_make_a_state_too(net, samples, tmp_path):
    state = net.state()
    net.step(samples[:0], state)
    state.save(tmp_path / "state")
    again = net.load_state(tmp_path / "state")
    assert (again.steps, again.batch) == (1, 0)
    assert net.step(samples[:0], again).shape == (0, 4)


@pytest.fixture
def saved(net, samples, tmp_path):
    state = net.state()
    net.step(samples, state)
    path = tmp_path / "state"
    state.save(path)
    return path


def rewritten(path, tensors=None, drop=(), **header):
    """The file with some arrays and words of its header changed, and no checksum, as older ones have none."""
    with safe_open(str(path), framework="numpy") as opened:
        words = json.loads(opened.metadata()["bitspike state"]) | header
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    del words["sha256"]
    arrays = {name: array for name, array in (arrays | (tensors or {})).items() if name not in drop}
    words = {name: word for name, word in words.items() if name not in drop}
    save_file(arrays, str(path), metadata={"bitspike state": json.dumps(words)})
    return path


def test_another_network_is_refused(net, saved, tmp_path):
    other = lower(ImageNet("2w3u").eval())
    assert fingerprint(other.graph) != fingerprint(net.graph)
    assert told(other, saved) == f"{saved} holds a state of another network"


def test_every_truncation_is_refused(net, saved):
    whole = saved.read_bytes()
    for end in [*range(0, 300), *range(300, len(whole), 23)]:
        saved.write_bytes(whole[:end])
        assert "is not a state that bitspike saved: " in told(net, saved), end
    saved.write_bytes(whole + b"more")
    assert "is not a state that bitspike saved: " in told(net, saved)


def test_foreign_files_are_refused(net, tmp_path):
    path = tmp_path / "state"
    save_file({"weight": np.zeros(3, np.float32)}, str(path))
    assert told(net, path) == f"{path} is not a state that bitspike saved: it has no 'bitspike state'"
    for text in ("[]", "5", "nothing", "[" * 100_000, '"batch"', "{}", "null"):
        save_file({"total": np.zeros((1, 4), np.int64)}, str(path), metadata={"bitspike state": text})
        assert "is not a state that bitspike saved: " in told(net, path)
    path.write_text("something else altogether\n")
    assert "is not a state that bitspike saved: " in told(net, path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"batch": -1}, "the number of samples is -1; allowed: 0 to 1048576"),
        ({"batch": 2**70}, f"the number of samples is {2**70}; allowed"),
        ({"batch": 2.0}, "the number of samples is 2.0; allowed"),
        ({"batch": "three"}, "the number of samples is 'three'; allowed"),
        ({"batch": True}, "the number of samples is True; allowed"),
        ({"batch": 2}, "a membrane is packed in"),
        ({"batch": 1 << 20}, "a membrane is packed in"),
        ({"steps": 0}, "the number of steps done is 0; allowed: 1 to 3"),
        ({"steps": 4}, "the number of steps done is 4; allowed: 1 to 3"),
        ({"steps": 2**70}, f"the number of steps done is {2**70}; allowed"),
        ({"steps": float("inf")}, "the number of steps done is inf; allowed"),
    ],
)
def test_headers_that_cannot_be(net, saved, header, message):
    found = told(net, rewritten(saved, **header))
    assert found.startswith(f"{saved} is damaged: ")
    assert message in found


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"total": np.zeros((3, 4), np.int32)}, "the readout's sums are int32 [3, 4]"),
        ({"total": np.zeros((3, 5), np.int64)}, "the readout's sums are int64 [3, 5]"),
        ({"total": np.zeros((2, 4), np.int64)}, "the readout's sums are int64 [2, 4]"),
        ({"membrane/first": np.zeros((2, 5), np.uint8)}, "a membrane is packed in uint8 [2, 5]"),
        ({"membrane/first": np.zeros(4, np.float32)}, "a membrane is packed in float32 [4]"),
        ({"membrane/third": np.zeros(4, np.uint8)}, "it does not hold exactly the arrays membrane/first, "),
    ],
)
def test_arrays_that_cannot_be(net, saved, tensors, message):
    found = told(net, rewritten(saved, tensors))
    assert found.startswith(f"{saved} is damaged: ")
    assert message in found


@pytest.mark.parametrize("missing", ["total", "membrane/second", "network", "batch", "steps"])
def test_parts_that_are_missing(net, saved, missing):
    found = told(net, rewritten(saved, drop=(missing,)))
    assert missing in found


def test_a_membrane_beyond_its_levels(net, saved):
    """-n - 1 has a pattern of bits, and is no value of a membrane."""
    first = net.graph.spiking[0]
    bits = first.fire.levels.bit_length() + 1
    planes = np.zeros((bits, (3 * 5 * 36 + 7) // 8), np.uint8)
    planes[-1, 4] = 1
    message = told(net, rewritten(saved, {"membrane/first": planes}))
    assert f"a membrane of first is beyond its {first.fire.levels} levels" in message


def test_every_damaged_byte_is_noticed(net, saved):
    whole, numbers = saved.read_bytes(), np.random.default_rng(4)
    size = 8 + int.from_bytes(whole[:8], "little")
    places = [*range(size), *numbers.integers(size, len(whole), 200).tolist()]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(numbers.integers(8))
        saved.write_bytes(bytes(damaged))
        told(net, saved)
    assert told(net, saved) == f"{saved} is damaged: its checksum does not hold; copy it again, or save the state anew"


def test_a_state_of_before_there_were_checksums_goes_on(net, samples, saved):
    state = net.load_state(rewritten(saved))
    for _ in range(2):
        logits = net.step(samples, state)
    assert np.array_equal(logits, net.predict(samples))


@pytest.mark.parametrize("build", RUNNERS)
@pytest.mark.parametrize("twin_of", [State.copy, copy.copy, copy.deepcopy])
def test_a_copy_goes_on_by_itself(samples, build, twin_of):
    """Random rounding too: the number of the step is part of the state."""
    spec = QuantSpec.parse("1w4u")
    net = lower(ImageNet(replace(spec, membrane=replace(spec.membrane, rounding="stochastic"))).eval()).on(build)
    state = net.state()
    assert twin_of(state).steps == 0
    net.step(samples, state)
    twin = twin_of(state)
    assert (twin.graph, twin.steps, twin.batch) == (net.graph, 1, 3)
    net.step(samples[::-1], state)
    held = {name: values.copy() for name, values in state.membranes().items()}
    for _ in range(2):
        logits = net.step(samples, twin)
    assert np.array_equal(logits, net.predict(samples))
    assert state.steps == 2
    assert all(np.array_equal(values, held[name]) for name, values in state.membranes().items())
