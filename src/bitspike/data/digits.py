"""The 8x8 digits that come with scikit-learn: the data set that is there without a download.

Pixels 0..16 become 0..255 by `(v * 255 + 8) // 16`, that is v * 255 / 16 rounded half up. The split is fixed:
within each class, in file order, every fifth sample (the 5th, 10th, ...) is test, the others are train.
"""

from __future__ import annotations

import numpy as np

from bitspike.data.dataset import Dataset, measure_statistics


def load_digits(split: str) -> Dataset:
    """Return a split of the digits: images uint8 `[N, 1, 8, 8]`; 1,442 train, 355 test."""
    try:
        from sklearn.datasets import load_digits as read_digits
    except ImportError as error:
        raise ImportError(
            "the data set 'digits' comes with scikit-learn, which is not installed: pip install bitspike[train]"
        ) from error
    bunch = read_digits()
    values = np.asarray(bunch.images).astype(np.int64)
    labels = np.asarray(bunch.target).astype(np.int64)
    images = ((values * 255 + 8) // 16).astype(np.uint8)[:, None]
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[np.flatnonzero(labels == label)[4::5]] = True
    mean, std = measure_statistics(images[~test])
    chosen = test if split == "test" else ~test
    return Dataset("digits", split, images[chosen], labels[chosen], 10, tuple("0123456789"), mean, std)
