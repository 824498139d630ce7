import numpy as np
import pytest

from _inference import samples


def test_images_have_the_mean_spread_and_likeness_of_pictures():
    pixels = samples.images(8, (3, 32, 32))
    assert (pixels.shape, pixels.dtype) == ((8, 1, 3, 32, 32), np.uint8)
    floats = samples.as_floats(pixels)
    assert floats.dtype == np.float32
    assert abs(float(floats.mean())) < 0.05
    assert float(floats.std()) == pytest.approx(1, abs=0.1)
    beside = np.corrcoef(floats[..., :-1].ravel(), floats[..., 1:].ravel())[0, 1]
    colours = np.corrcoef(floats[:, :, 0].ravel(), floats[:, :, 1].ravel())[0, 1]
    assert beside > 0.6
    assert colours > 0.7


@pytest.mark.parametrize("make", [samples.images, samples.events])
def test_a_seed_decides_everything(make):
    sizes = (2, (3, 8, 8)) if make is samples.images else (2, 3, (2, 8, 8))
    assert np.array_equal(make(*sizes, 1), make(*sizes, 1))
    assert not np.array_equal(make(*sizes, 1), make(*sizes, 2))


def test_events_have_their_density_and_gather_in_places():
    counts = samples.events(4, 10, (2, 48, 48))
    assert (counts.shape, counts.dtype) == ((4, 10, 1, 2, 48, 48), np.uint8)
    assert float((counts > 0).mean()) == pytest.approx(samples.EVENT_DENSITY, rel=0.1)
    busy = counts.sum((1, 2, 3)).astype(float)  # one map a sample
    assert busy.std() > 1.5 * busy.mean() ** 0.5  # more than chance alone would spread them
