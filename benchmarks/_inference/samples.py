"""Random samples with the clustering of real ones: images whose spectrum falls as 1/f, events that gather in places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MEAN, STD = 0.5, 0.25
EVENT_DENSITY = 0.10
"""Share of event-frame pixels that hold an event."""


def images(count: int, shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    """uint8 images [N, B=1, C, H, W] of mean 0.5 and deviation 0.25, their colours alike as in photographs."""
    random = np.random.default_rng(seed)
    channels, height, width = shape
    common = np.stack([_clouds(random, height, width) for _ in range(count)])[:, None]
    own = np.stack([_clouds(random, height, width) for _ in range(count * channels)])
    mixed = 0.9 * common + (1 - 0.9**2) ** 0.5 * own.reshape(count, channels, height, width)
    pixels: NDArray[np.uint8] = np.clip(np.rint(255 * (MEAN + STD * mixed)), 0, 255).astype(np.uint8)
    alone: NDArray[np.uint8] = pixels[:, None]
    return alone


def events(count: int, steps: int, shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    """uint8 counts [N, T, B=1, C, H, W], Poisson around places that stay for all steps of a sample."""
    random = np.random.default_rng(seed)
    channels, height, width = shape
    samples = np.empty((count, steps, 1, channels, height, width), np.uint8)
    for sample in samples:
        busy = np.exp(_clouds(random, height, width))
        rate = busy * _rate_for(busy, EVENT_DENSITY)
        sample[:] = np.minimum(random.poisson(rate, sample.shape), 255)
    return samples


def as_floats(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images as float networks take them: normalized."""
    return ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)


def _clouds(random: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """Noise of mean 0 and deviation 1 whose amplitude falls as one over the frequency."""
    vertical, horizontal = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(random.normal(size=(height, width))) / frequency
    field: NDArray[np.float64] = np.fft.ifft2(spectrum).real
    normal: NDArray[np.float64] = (field - field.mean()) / field.std()
    return normal


def _rate_for(busy: NDArray[np.float64], density: float) -> float:
    """The factor with which Poisson counts of mean factor * busy are positive at this share of the pixels."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        if float((1 - np.exp(-middle * busy)).mean()) < density:
            low = middle
        else:
            high = middle
    return (low + high) / 2
