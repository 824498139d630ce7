"""What runs a network, chosen by call and by environment; engines among threads, copies and processes."""

from __future__ import annotations

import copy
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from bitspike import IntegerNet, lower
from bitspike.engine import KERNELS, Engine, UnusableNetwork, builds
from bitspike.integer import graph as g
from bitspike.integer.file import save
from networks import EventNet, ImageNet, images

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")
needs_engine = pytest.mark.skipif(not builds(), reason="no engine was built; make engine shows why")


@pytest.fixture(scope="module")
def net() -> IntegerNet:
    return lower(ImageNet("1w4u").eval())


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return images(7).numpy()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("BITSPIKE_ENGINE", "BITSPIKE_THREADS"):
        monkeypatch.delenv(name, raising=False)


def fresh(net: IntegerNet) -> IntegerNet:
    """The same network, which has not chosen a runner yet."""
    return IntegerNet(net.graph)


@needs_engine
def test_the_best_build_runs_unless_told_otherwise(net):
    assert fresh(net).runner.name == f"engine ({builds()[0]})"
    assert net.on("reference").runner.name == "reference (torch)"


@needs_engine
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_way_to_run_it_gives_the_same(net, samples, threads):
    expected = net.on("reference").predict(samples)
    values = net.on("reference").spikes(samples)
    for build in builds():
        for kernel in KERNELS:
            other = net.on(build, kernel=kernel, threads=threads)
            assert (other.runner.build, other.runner.kernel, other.runner.threads) == (build, kernel, threads)
            assert np.array_equal(other.predict(samples), expected)
            assert all(np.array_equal(found, values[name]) for name, found in other.spikes(samples).items())


@needs_engine
def test_a_batch_is_its_samples(net, samples):
    expected = net.predict(samples)
    for threads in (1, 2, 5):
        other = net.on(threads=threads)
        assert np.array_equal(other.predict(samples), expected)
        assert np.array_equal(np.concatenate([other.predict(samples[i : i + 1]) for i in range(7)]), expected)
        assert np.array_equal(other.predict(samples[:2]), expected[:2])


@needs_engine
@pytest.mark.parametrize("threads", [1, 3])
def test_no_samples(net, samples, threads):
    other, events = net.on(threads=threads), lower(EventNet().eval()).on(threads=threads)
    assert other.predict(samples[:0]).shape == (0, 4)
    assert other.spikes(samples[:0])["first"].shape == (3, 0, 5, 6, 6)
    state = other.state()
    assert other.step(samples[:0], state).shape == (0, 4)
    assert events.predict(np.zeros((3, 0, 2, 4, 4), np.uint8)).shape == (0, 3)


@needs_engine
@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("BITSPIKE_ENGINE", "sse9", ValueError, "no build 'sse9' that runs here; it has "),
        ("BITSPIKE_THREADS", "0", ValueError, "BITSPIKE_THREADS is '0'; allowed: 1 to 256"),
        ("BITSPIKE_THREADS", "257", ValueError, "BITSPIKE_THREADS is '257'; allowed"),
        ("BITSPIKE_THREADS", "two", ValueError, "BITSPIKE_THREADS is 'two'; allowed"),
        ("BITSPIKE_THREADS", "²", ValueError, "BITSPIKE_THREADS is '²'; allowed"),
        ("BITSPIKE_THREADS", "-1", ValueError, "BITSPIKE_THREADS is '-1'; allowed"),
    ],
)
def test_wrong_words_in_the_environment(net, samples, monkeypatch, name, value, error, message):
    monkeypatch.setenv(name, value)
    with pytest.raises(error, match=message):
        fresh(net).predict(samples)


@needs_engine
def test_the_environment_chooses(net, samples, monkeypatch):
    expected = net.predict(samples)
    for build in ("reference", *builds()):
        monkeypatch.setenv("BITSPIKE_ENGINE", build)
        other = fresh(net)
        assert build in other.runner.name
        assert np.array_equal(other.predict(samples), expected)
    monkeypatch.setenv("BITSPIKE_THREADS", "3")
    assert fresh(net).runner.threads == 3
    assert net.on(threads=2).runner.threads == 2
    monkeypatch.setenv("BITSPIKE_THREADS", "")
    assert fresh(net).runner.threads == 1


@needs_engine
def test_wrong_words_in_a_call(net):
    with pytest.raises(ValueError, match="no build 'sse9'"):
        net.on("sse9")
    with pytest.raises(ValueError, match="kernel is 'fast'; allowed: auto, planes, dense, lanes"):
        net.on(kernel="fast")
    for threads in (0, 1.5):
        with pytest.raises(ValueError, match=f"threads is {threads}; allowed: 1 to 256"):
            net.on(threads=threads)
    assert net.on(threads=np.int64(2)).runner.threads == 2


def test_wrong_words_are_wrong_for_the_reference_too(net, monkeypatch):
    with pytest.raises(ValueError, match="kernel is 'fast'; allowed: auto, planes, dense, lanes"):
        net.on("reference", kernel="fast")
    with pytest.raises(ValueError, match="threads is -3; allowed: 1 to 256"):
        net.on("reference", threads=-3)
    monkeypatch.setenv("BITSPIKE_THREADS", "0")
    with pytest.raises(ValueError, match="BITSPIKE_THREADS is '0'"):
        net.on("reference")


@needs_engine
@pytest.mark.parametrize("build", ["reference", None])
def test_copies_and_pickles(net, samples, build):
    other = net.on(build, kernel="dense", threads=2) if build is None else net.on(build)
    expected = other.predict(samples)
    for twin in (copy.copy(other), copy.deepcopy(other), pickle.loads(pickle.dumps(other))):
        assert twin.runner.name == other.runner.name
        assert getattr(twin.runner, "threads", None) == getattr(other.runner, "threads", None)
        assert np.array_equal(twin.predict(samples), expected)


@needs_engine
def test_a_pickle_from_a_better_processor_runs_here(net, samples):
    engine = Engine(net.graph)
    engine.build = "avx1024"
    twin = pickle.loads(pickle.dumps(engine))
    assert twin.build == builds()[0]
    assert np.array_equal(twin.predict(samples), net.predict(samples))


@needs_engine
@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_python_share_a_net(net, samples, threads):
    other, expected = net.on(threads=threads), net.predict(samples)
    wrong: list[str] = []

    def work(number: int) -> None:
        try:
            for _ in range(20):
                if not np.array_equal(other.predict(samples), expected):
                    wrong.append(f"thread {number}: predict differs")
                state = other.state()
                for _ in range(3):
                    logits = other.step(samples[number:], state)
                if not np.array_equal(logits, expected[number:]):
                    wrong.append(f"thread {number}: step differs")
        except Exception as error:
            wrong.append(repr(error))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


@needs_engine
def test_what_outlives_the_engine(net, samples):
    """A state and its runner go on after net, engine and other sessions are gone."""
    other = fresh(net).on(threads=2)
    expected, state = other.predict(samples), other.state()
    other.step(samples, state)
    runner = other.runner
    session = runner._new_session(2)
    del other, runner
    gc.collect()
    held = state.membranes()
    assert held.keys() == {"first", "second"}
    again = IntegerNet(state.graph)
    for _ in range(2):
        logits = again.step(samples, state)
    assert np.array_equal(logits, expected)
    del state, again
    gc.collect()
    assert session.pointer  # its net lives as long as it does; both are freed here
    del session
    gc.collect()


@needs_engine
def test_engines_come_and_go(net, samples):
    expected = net.predict(samples)
    for round_ in range(30):
        engine = Engine(net.graph, threads=1 + round_ % 3)
        assert np.array_equal(engine.predict(samples), expected)
        del engine
    gc.collect()


@needs_engine
def test_sessions_of_many_lengths_are_let_go():
    entry = g.Input("input", "events", (1, 2, 2), None, (0,), 1, 1.0)
    readout = g.Readout("readout", "flat", np.array([[1, 3, -1, 1]]), np.zeros(1, np.int32), 1.0, 4)
    engine = Engine(g.Graph((entry, g.Flatten("flat", "input"), readout)))
    for steps in range(1, 40):
        assert engine.predict(np.ones((steps, 1, 1, 2, 2), np.uint8)).tolist() == [[4 * steps]]
    assert len(engine._idle) <= 4


@needs_engine
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_child_process_goes_on_with_a_net(net, samples, threads):
    """Threads of sessions do not follow into a forked process."""
    other = net.on(threads=threads)
    expected, context = other.predict(samples), multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sender.send(other.predict(samples))

    child = context.Process(target=work)
    child.start()
    try:
        assert receiver.poll(60), "the child hangs"
        assert np.array_equal(receiver.recv(), expected)
        child.join(60)
        assert child.exitcode == 0
    finally:
        child.kill()
    assert np.array_equal(other.predict(samples), expected)


def high_net(most: int = 9000) -> IntegerNet:
    """Of a map higher than the engine takes; `most` other than 9000: a wrong one besides."""
    entry = g.Input("entry", "events", (1, 9000, 1), 1, (0,), 1, 1.0)
    readout = g.Readout("readout", "flat", np.ones((2, most), np.int8), np.zeros(2, np.int32), 1.0, 1)
    return IntegerNet(g.Graph((entry, g.Flatten("flat", "entry"), readout)))


@needs_engine
def test_the_reference_runs_a_network_that_the_engine_refuses(monkeypatch):
    samples = np.ones((1, 1, 1, 9000, 1), np.uint8)
    refused = r"refuses this network: entry: height is 9000; allowed: 1 to 8192"
    with pytest.warns(RuntimeWarning, match=f"{refused}; the reference takes its place"):
        assert high_net().predict(samples).tolist() == [[9000, 9000]]
    with pytest.raises(UnusableNetwork, match=refused):
        high_net().on(builds()[0])
    with pytest.raises(ValueError, match="readout: dense weights"):
        high_net(8999).predict(samples)
    monkeypatch.setenv("BITSPIKE_ENGINE", builds()[0])
    with pytest.raises(UnusableNetwork, match=refused):
        high_net().predict(samples)


def run_elsewhere(folder: Path, graph: g.Graph, samples: np.ndarray, **environment: str) -> tuple[int, str, str]:
    """Predict in a process of its own, with another library; return code, the logits as text, and what was said."""
    from bitspike.integer.file import Contents

    save(folder / "net.bsp", Contents(graph))
    np.save(folder / "samples.npy", samples)
    code = (
        "import numpy as np, bitspike.runtime as r\n"
        "net = r.IntegerNet.load('net.bsp')\n"
        "print(net.runner.name, net.predict(np.load('samples.npy')).tolist())"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith("BITSPIKE_ENGINE")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=plain | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


@pytest.mark.parametrize("kind", ["nowhere", "text", "other library"])
def test_a_library_that_is_none(net, samples, tmp_path, kind):
    """The reference takes over with a warning; a build that was asked for by name is an error."""
    path = tmp_path / "engine.so"
    if kind == "text":
        path.write_text("not a library")
    elif kind == "other library":
        import _ctypes

        path = Path(_ctypes.__file__)
    code, told, said = run_elsewhere(tmp_path, net.graph, samples, BITSPIKE_ENGINE_LIBRARY=str(path))
    assert code == 0, said
    assert told == f"reference (torch) {net.on('reference').predict(samples).tolist()}"
    reason = "is not an engine of this bitspike: it has no bs_" if kind == "other library" else "cannot be loaded: "
    assert f"RuntimeWarning: the engine {path} {reason}".replace("the engine ", "") in said.replace("the engine ", "")
    assert "the reference takes its place" in said
    environment = {"BITSPIKE_ENGINE_LIBRARY": str(path), "BITSPIKE_ENGINE": "baseline"}
    code, told, said = run_elsewhere(tmp_path, net.graph, samples, **environment)
    assert (code, told) == (1, "")
    assert reason in said


def test_without_a_library_the_reference_runs(net, samples, monkeypatch):
    from bitspike.engine import library

    monkeypatch.setattr(library, "library_path", lambda: None)
    monkeypatch.setattr(library, "library", lambda: None)
    library.builds.cache_clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            other = fresh(net)
            assert other.runner.name == "reference (torch)"
            assert other.predict(samples).shape == (7, 4)
        with pytest.raises(RuntimeError, match="no engine was built with this installation; install a C compiler"):
            net.on("avx2")
    finally:
        library.builds.cache_clear()
