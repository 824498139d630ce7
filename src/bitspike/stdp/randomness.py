"""Random numbers by their place: Threefry-4x32-20 on numpy, the same bits as `bitspike.integer.threefry`.

    key = (seed, purpose, 0, 0)      counter = (image, step, input, 0)

so a number depends on nothing that was drawn before it, on no order and on no number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]

# What a number is for: the second word of the key.
INITIAL, LEARNING_INPUT, RESPONSE_INPUT, WEIGHTS, NEURONS, RESPONSE_NEURONS, ORDER = range(7)

GOLDEN = 0x9E3779B9
"""Neurons that share a random word are this far apart: each is uniform, and neighbours lie far from each other."""

_ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
_PARITY = 0x1BD11BDA


def words(seed: int, purpose: int, image: Any, step: Any, place: Any) -> tuple[Words, Words, Words, Words]:
    """Four words of 32 bits for every image, step and place, which are broadcast."""
    shape = np.broadcast_shapes(np.shape(image), np.shape(step), np.shape(place))
    given = (image, step, place, 0)
    # At least one number in an array: sums of those wrap silently.
    state = [np.atleast_1d(np.broadcast_to(np.asarray(item, np.uint32), shape).copy()) for item in given]
    schedule = [np.uint32(item) for item in (seed, purpose, 0, 0, _PARITY ^ seed ^ purpose)]
    for i in range(4):
        state[i] += schedule[i]
    for turn in range(20):
        left, right = _ROTATIONS[turn % 8]
        a, b = (1, 3) if turn % 2 == 0 else (3, 1)
        state[0] += state[a]
        state[a] = _rotated(state[a], left) ^ state[0]
        state[2] += state[b]
        state[b] = _rotated(state[b], right) ^ state[2]
        if turn % 4 == 3:
            injection = turn // 4 + 1
            for i in range(4):
                state[i] += schedule[(injection + i) % 5]
            state[3] += np.uint32(injection)
    first, second, third, fourth = (word.reshape(shape) for word in state)
    return first, second, third, fourth


def spread(word: Any, neurons: Any) -> Words:
    """word + neuron * GOLDEN: one uniform word of 32 bits for every neuron (broadcast against the words)."""
    numbers = np.atleast_1d(np.asarray(neurons, np.uint32)) * np.uint32(GOLDEN)
    shape = np.broadcast_shapes(np.shape(word), np.shape(neurons))
    return (np.atleast_1d(np.asarray(word, np.uint32)) + numbers).reshape(shape)


def _rotated(word: Words, by: int) -> Words:
    return (word << np.uint32(by)) | (word >> np.uint32(32 - by))
