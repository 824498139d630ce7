"""Small images and networks for the tests of the unsupervised network."""

from __future__ import annotations

import numpy as np

from bitspike.stdp import floating, integers
from bitspike.stdp.coding import spike_train
from bitspike.stdp.config import StdpBits, StdpConfig
from bitspike.stdp.randomness import LEARNING_INPUT, RESPONSE_INPUT
from bitspike.stdp.state import State


def images(count: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Noisy prototypes, so that there is something to learn."""
    random = np.random.default_rng(seed)
    prototypes = random.integers(0, 256, (3, inputs)) * (random.random((3, inputs)) < 0.4)
    noisy = prototypes[random.integers(0, 3, count)] + random.integers(-20, 20, (count, inputs))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def small(**changes) -> StdpConfig:
    """A lively small network."""
    given = {"inputs": 49, "neurons": 13, "steps": 40, "norm": 12.0, "intensity": 600.0, "theta_plus": 0.02} | changes
    return StdpConfig(**given)


def small_bits(**changes) -> StdpBits:
    return StdpBits(**changes)


def reference(config: StdpConfig, state: State, pixels: np.ndarray, numbers, *, learn: bool) -> np.ndarray:
    """The winners of images, from the definition; the state learns in place."""
    found = []
    for row, number in zip(pixels, numbers, strict=True):
        train = spike_train(config, row, int(number), LEARNING_INPUT if learn else RESPONSE_INPUT)
        if config.bits is None:
            found.append(floating.present(config, state, train, learn=learn))
        else:
            found.append(integers.present(config, state, train, int(number), learn=learn))
    return np.array(found)


def assert_same_state(one: State, other: State) -> None:
    for name in ("weights", "theta", "scale", "unsettled"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.images == other.images
