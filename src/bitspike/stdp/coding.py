"""Images as trains of spikes: rate coding by a Bernoulli draw in every step.

    spike[t, i] = draw16(image, t, i) < round(2^16 * pixel[i] / 255 * intensity * dt / 1000)

Eight steps of one input are the eight halves of one Threefry block: steps 8 k .. 8 k + 7 come from counter
(image, k, i, 0), step t from word (t % 8) // 2, the lower half of it where t is even.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpConfig
from bitspike.stdp.randomness import words

_AT_ONCE = 8


def rate_table(config: StdpConfig) -> NDArray[np.uint32]:
    """For each of the 256 pixel values the probability of a spike in a step, in units of 2^-16."""
    chance = np.arange(256) / 255 * (config.intensity * config.dt / 1000)
    return np.round(chance * 65536).astype(np.uint32)


def as_inputs(images: Any, inputs: int) -> NDArray[np.uint8]:
    """Images as rows of pixels, uint8 [B, inputs]; what is out of range is refused."""
    given = np.asarray(images)
    if (
        given.ndim == 0
        or (given.ndim > 1 and given.size and given[0].size != inputs)
        or (given.ndim == 1 and given.size != inputs)
    ):
        raise ValueError(
            f"the images have shape {given.shape}; the network takes [B, ...] with {inputs} pixels an image"
        )
    if given.dtype.kind not in "ui":
        raise TypeError(f"the images are {given.dtype}; give whole numbers from 0 to 255 (uint8)")
    if given.dtype != np.uint8 and given.size and (given.min() < 0 or given.max() > 255):
        raise ValueError(f"pixels go from {given.min()} to {given.max()}; allowed are 0 to 255")
    return np.ascontiguousarray(given.reshape(-1, inputs).astype(np.uint8, copy=False))


def spike_train(config: StdpConfig, pixels: NDArray[np.uint8], image: int, purpose: int) -> NDArray[np.bool_]:
    """The spikes [T, inputs] of one image under its number."""
    blocks = -(-config.steps // _AT_ONCE)
    step = np.arange(blocks, dtype=np.uint32).reshape(-1, 1)
    drawn = words(config.seed, purpose, image, step, np.arange(config.inputs, dtype=np.uint32))
    halves = [half for word in drawn for half in (word & np.uint32(0xFFFF), word >> np.uint32(16))]
    draws = np.stack(halves, axis=1).reshape(blocks * _AT_ONCE, config.inputs)[: config.steps]
    return draws < rate_table(config)[pixels]
