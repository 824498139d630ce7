import numpy as np
import pytest
from stdp_samples import small

from bitspike.data import Dataset
from bitspike.stdp import StdpRecipe


def dataset(count: int, split: str = "train", seed: int = 0) -> Dataset:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    shapes = np.random.default_rng(9)
    prototypes = shapes.integers(100, 256, (3, 49)) * (shapes.random((3, 49)) < 0.4)
    noisy = prototypes[labels] + random.integers(-20, 20, (count, 49))
    inputs = np.clip(noisy, 0, 255).astype(np.uint8).reshape(count, 1, 7, 7)
    return Dataset("spots", split, inputs, labels.astype(np.int64), 3, mean=(0.2,), std=0.3)


@pytest.fixture(scope="session")
def spots() -> tuple[Dataset, Dataset]:
    return dataset(700), dataset(200, "test", 1)


@pytest.fixture
def recipe():
    def make(**changes) -> StdpRecipe:
        given = {"passes": 2, "validation": 100, "label_images": 300}
        network = small(**changes.pop("network", {}))
        return StdpRecipe("try", network, "spots", **(given | changes))

    return make
