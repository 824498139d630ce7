"""Networks that are written as C once for several tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitspike import IntegerNet, lower
from bitspike.export import export_c
from networks import ImageNet, images

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="session")
def image_export(tmp_path_factory):
    """(net, samples, report) of a small network."""
    net = lower(ImageNet("2w4u").eval())
    samples = images(3).numpy()
    folder = tmp_path_factory.mktemp("c") / "image net"
    return net, samples, export_c(net, folder, name="tiny", samples=samples)


@pytest.fixture(scope="session")
def model_exports(tmp_path_factory):
    """name -> (net, samples, report) of the committed digits and MNIST networks, with random samples."""
    found = {}
    for name in ("qsnn-digits-1w2u", "qsnn-mnist-1w2u"):
        net = IntegerNet.load(MODELS / f"{name}.bsp")
        samples = np.random.default_rng(3).integers(0, 256, (2, *net.graph.input.shape)).astype(np.uint8)
        samples[:, :, :2] = 0
        report = export_c(net, tmp_path_factory.mktemp("c") / name, name="network", samples=samples)
        found[name] = (net, samples, report)
    return found
