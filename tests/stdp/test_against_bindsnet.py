"""The same spikes as BindsNET, on the same trains and initial weights, both in float64 and without its chance."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitspike.stdp import StdpConfig, StdpNetwork, floating
from bitspike.stdp.coding import spike_train
from bitspike.stdp.randomness import LEARNING_INPUT
from bitspike.stdp.state import initial_state

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 50


def bindsnet_python() -> str:
    """An interpreter that has BindsNET: this one, or that of the benchmarks' peers."""
    peers = ROOT / ".venv-peers"
    if importlib.util.find_spec("bindsnet") is not None:
        return sys.executable
    if (peers / "bin" / "python").is_file() and any(peers.glob("lib/python*/site-packages/bindsnet")):
        return str(peers / "bin" / "python")
    pytest.skip("bindsnet is not installed; benchmarks/stdp.py installs it into .venv-peers")


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Our configuration, state, trains, and what BindsNET did with them."""
    python, folder = bindsnet_python(), tmp_path_factory.mktemp("bindsnet")
    config = StdpConfig(neurons=100, winner="lowest")
    pixels = strokes(IMAGES)
    trains = np.array([spike_train(config, row, i, LEARNING_INPUT) for i, row in enumerate(pixels)])
    state = initial_state(config, np.float64)
    np.savez(
        folder / "given.npz",
        setup=json.dumps(config.to_dict()),
        weights=state.weights,
        theta=state.theta,
        trains=trains,
    )
    command = [python, "-m", "_stdp.follow_bindsnet", str(folder / "given.npz"), str(folder / "found.npz")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return config, state, trains, dict(np.load(folder / "found.npz"))


def strokes(count: int) -> np.ndarray:
    """Images with as much light as digits: a few thick bars."""
    random = np.random.default_rng(5)
    images = np.zeros((count, 28, 28), np.uint8)
    for image in images:
        for _ in range(3):
            row, column, length = random.integers((3, 3, 6), (24, 24, 14)).tolist()
            part = (slice(row, row + 3), slice(column, column + length))
            image[part if random.random() < 0.5 else part[::-1]] = random.integers(120, 256)
    return images.reshape(count, 784)


@pytest.mark.slow
def test_spike_trains_are_equal_in_float64(followed):
    config, state, trains, found = followed
    # BindsNET keeps its learning rates in single precision whatever else is double.
    exact = replace(config, rate_pre=float(found["rates"][0]), rate_post=float(found["rates"][1]))
    winners = np.array([floating.present(exact, state, train, learn=True) for train in trains])
    assert (winners >= 0).sum() > 10 * IMAGES
    np.testing.assert_array_equal(winners, found["winners"])
    np.testing.assert_allclose(state.weights, found["weights"], atol=1e-9)
    np.testing.assert_allclose(state.theta, found["theta"], atol=1e-9)


@pytest.mark.slow
def test_float32_spikes_about_as_often(followed):
    """In float32 a rounding moves a spike now and then, and what is learned from there on."""
    config, _, trains, found = followed
    network = StdpNetwork(config)
    from bitspike.stdp import native

    if not native.builds():
        pytest.skip("no engine was built")
    winners = native.present(config, network.state, numbers=np.arange(IMAGES), learn=True, trains=trains)
    ours, theirs = (winners >= 0).sum(1), (found["winners"] >= 0).sum(1)
    assert abs(ours.sum() / theirs.sum() - 1) < 0.02
    assert (winners[:3] == found["winners"][:3]).mean() > 0.99
