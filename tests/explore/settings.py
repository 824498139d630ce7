"""A tiny trained network, its data, and what the candidates of its explorations share."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

from bitspike import create_model
from bitspike.data import Dataset
from bitspike.explore import Space
from bitspike.explore.setting import Setting, default_recipe
from bitspike.train import Recipe, train

OPTIONS = {"widths": [4, 8], "classes": 3, "mean": [0.25], "std": 0.2}


def stripes(samples: int, seed: int = 0, split: str = "train") -> Dataset:
    """Three classes of noisy 8x8 pictures: a bright top, a bright bottom, neither."""
    generator = np.random.default_rng(seed)
    labels = np.arange(samples, dtype=np.int64) % 3
    images = generator.integers(0, 120, (samples, 1, 8, 8), dtype=np.uint8)
    images[labels == 0, :, :3] += 60
    images[labels == 1, :, 5:] += 60
    return Dataset("stripes", split, images, labels, 3, ("top", "bottom", "none"), (0.25,), 0.2)


@cache
def _trained() -> nn.Module:
    torch.set_num_threads(1)
    recipe = Recipe.from_dict(
        {
            "name": "tiny",
            "quant": "32w32u",
            "model": {"name": "small8", "options": OPTIONS},
            "data": {"name": "stripes", "time_steps": 2, "validation": 0},
            "train": {"epochs": 3, "batch": 16, "lr": 2e-2},
        }
    )
    torch.manual_seed(0)
    net = create_model("small8", spec="32w32u", time_steps=2, **OPTIONS)
    train(net, stripes(96), recipe, show_progress=False, device="cpu")
    return net.eval()


def float_net() -> nn.Module:
    """A copy of the trained network."""
    return copy.deepcopy(_trained())


def setting(space: dict[str, Any], **options: Any) -> Setting:
    """What candidates of that space share; candidates that train do so for one epoch."""
    data = stripes(96)
    recipe = default_recipe(data, 2)
    recipe = replace(recipe, train=replace(recipe.train, epochs=1, batch=16))
    given = {"calibration": (2, 24), "recipe": recipe, **options}
    return Setting(float_net(), Space.of(space), data, stripes(60, seed=1), **given)
