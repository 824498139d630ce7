"""Small data sets that a tiny network learns in seconds."""

import numpy as np

from bitspike.data import Dataset


def make_images(samples: int, seed: int = 0, name: str = "stripes", split: str = "train") -> Dataset:
    """Three classes of noisy 8x8 pictures: a bright top, a bright bottom, neither; a net learns them in seconds."""
    generator = np.random.default_rng(seed)
    labels = np.arange(samples, dtype=np.int64) % 3
    images = generator.integers(0, 90, (samples, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :3] += 120
    images[labels == 1, :, 5:] += 120
    return Dataset(name, split, images, labels, 3, ("top", "bottom", "none"), (0.25,), 0.2)


def make_events(samples: int, steps: int = 3) -> Dataset:
    """Two classes of event frames 2x8x8: events on the left, events on the right."""
    generator = np.random.default_rng(1)
    labels = np.arange(samples, dtype=np.int64) % 2
    counts = generator.integers(0, 2, (samples, steps, 2, 8, 8), dtype=np.uint8)
    counts[labels == 0, ..., :4] += 2
    counts[labels == 1, ..., 4:] += 2
    return Dataset("sides", "train", counts, labels, 2, ("left", "right"), bound=15)
