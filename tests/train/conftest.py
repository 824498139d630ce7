"""Small data and a small recipe that the training tests share."""

import pytest
import torch
from train_samples import make_events, make_images

from bitspike.data import Dataset

torch.set_num_threads(1)


@pytest.fixture
def images() -> Dataset:
    return make_images(96)


@pytest.fixture
def events() -> Dataset:
    return make_events(40)


@pytest.fixture
def table() -> dict:
    """A recipe as plain data: a tiny 1w2u net on the stripes."""
    return {
        "name": "tiny",
        "quant": "1w2u",
        "model": {"name": "small8", "options": {"widths": [4, 8]}},
        "data": {"name": "stripes", "time_steps": 2, "validation": 0.25},
        "train": {"epochs": 3, "batch": 16, "lr": 1e-2, "ema": 0.9, "warmup_epochs": 0.5, "clip": 1.0},
        "regulation": {"spike_loss": 1e-3, "layers": "all"},
        "augment": {"crop": 1},
    }
