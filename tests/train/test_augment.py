from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitspike.train import image_geometry
from bitspike.train.augment import AugmentConfig, build_augment, random_crop, random_cutout, random_flip
from bitspike.train.autoaugment import apply_policy, draw_policy

FILL = (125, 123, 114)


def noise(batch: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_defaults_do_nothing_and_draw_nothing() -> None:
    generator = seeded()
    state = generator.get_state()
    images = noise(4)
    assert torch.equal(build_augment(AugmentConfig(), FILL)(images, generator), images)
    assert torch.equal(generator.get_state(), state)


def test_order_is_crop_flip_policy_cutout() -> None:
    images = noise(32)
    config = AugmentConfig(crop=4, flip=True, autoaugment=True, cutout=16)
    generator = seeded(7)
    expected = random_crop(images, 4, FILL, generator)
    expected = random_flip(expected, 0.5, generator)
    expected = apply_policy(expected, draw_policy(32, generator), FILL)
    expected = random_cutout(expected, 16, FILL, generator)
    assert torch.equal(build_augment(config, FILL)(images, seeded(7)), expected)


def test_crop_reaches_every_place_equally() -> None:
    # each pixel holds its own number, so the middle pixel tells where the window lay
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8).repeat(5000, 1, 1, 1)
    middle = random_crop(images, 2, (255,), seeded())[:, 0, 4, 4]
    places, counts = middle.unique(return_counts=True)
    assert places.tolist() == [8 * (4 + down) + 4 + right for down in range(-2, 3) for right in range(-2, 3)]
    assert counts.min() > 130 and counts.max() < 270


def test_flip_probability() -> None:
    images = torch.tensor([[[[0, 1]]]], dtype=torch.uint8).repeat(4000, 1, 1, 1)
    for probability in (0.0, 0.25, 1.0):
        share = random_flip(images, probability, seeded())[:, 0, 0, 0].double().mean()
        assert abs(share - probability) < 0.03
    assert AugmentConfig(flip=True).flip == 0.5
    assert AugmentConfig(flip=False).flip == 0.0


def test_cutout_covers_its_square_with_the_fill() -> None:
    result = random_cutout(torch.full((500, 3, 32, 32), 7, dtype=torch.uint8), 16, FILL, seeded())
    covered = (result != 7).any(1)
    for channel, value in enumerate(FILL):
        assert torch.equal(result[:, channel] == value, covered)
    area = covered.sum(dim=(1, 2))
    assert area.min() >= 64 and area.max() == 256  # a corner pixel keeps a quarter of the square


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 9),
    st.sampled_from([1, 3]),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 14),
    st.integers(0, 14),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_same_generator_state_same_output(
    batch: int, channels: int, height: int, width: int, crop: int, cutout: int, policy: bool, seed: int
) -> None:
    images = noise(batch, channels, height, width)
    before = images.clone()
    augment = build_augment(AugmentConfig(crop=crop, flip=True, autoaugment=policy, cutout=cutout), FILL[:channels])
    generator = seeded(seed)
    first = augment(images, generator)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(augment(images, seeded(seed)), first)
    other_layout = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment(other_layout, seeded(seed)), first)


def test_state_moves_on_between_batches() -> None:
    augment = build_augment(AugmentConfig(crop=4, cutout=8), FILL)
    generator = seeded()
    images = noise(8)
    assert not torch.equal(augment(images, generator), augment(images, generator))


def test_one_color_images() -> None:
    config = AugmentConfig(crop=2, flip=True, autoaugment="cifar10", cutout=4)
    result = build_augment(config, [33])(noise(16, 1, 28, 28), seeded())
    assert result.shape == (16, 1, 28, 28)
    assert (result == 33).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_device_gives_the_same() -> None:
    augment = build_augment(AugmentConfig(crop=4, flip=True, autoaugment=True, cutout=16), FILL)
    images = noise(256)
    assert torch.equal(augment(images.cuda(), seeded()).cpu(), augment(images, seeded()))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"crop": -1}, "crop is -1; it must be a whole number"),
        ({"crop": 1.5}, r"crop is 1\.5; it must be a whole number"),
        ({"crop": True}, "crop is True; it must be a whole number"),
        ({"cutout": "16"}, "cutout is '16'; it must be a whole number"),
        ({"roll": -5}, "roll is -5"),
        ({"flip": 1.5}, r"flip is 1\.5; it must be a number from 0 to 1"),
        ({"flip": float("nan")}, "flip is nan"),
        ({"flip": "yes"}, "flip is 'yes'"),
        ({"nda": 90}, "nda is 90; it must be a number from 0 to 45"),
        (
            {"autoaugment": "imagenet"},
            "autoaugment is 'imagenet'; it must be true, false or one of 'none', 'cifar10'",
        ),
        ({"autoaugment": 3}, "autoaugment is 3"),
    ],
)
def test_bad_fields_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**fields)


def test_long_forms() -> None:
    assert AugmentConfig(autoaugment=True) == AugmentConfig(autoaugment="cifar10")
    assert AugmentConfig(autoaugment=False) == AugmentConfig(autoaugment="none") == AugmentConfig()


def test_event_fields_are_refused_on_images() -> None:
    with pytest.raises(ValueError, match="roll is 5, but it cannot be used on images; it is for events; use crop"):
        build_augment(AugmentConfig(roll=5), FILL)
    with pytest.raises(ValueError, match=r"nda is 30\.0, but"):
        build_augment(AugmentConfig(nda=30), FILL)


def test_bad_calls_are_named() -> None:
    augment = build_augment(AugmentConfig(), FILL)
    with pytest.raises(ValueError, match=r"got torch.float32"):
        augment(noise(1).float(), seeded())
    with pytest.raises(ValueError, match="must be 1 integers"):
        augment(noise(1, 1), seeded())
    on_device = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(ValueError, match="draws from a CPU generator, got one on cuda"):
        augment(noise(1), on_device)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        build_augment(AugmentConfig(), (0.5, 0.5, 0.5))  # type: ignore[arg-type]


def test_crop_of_a_strided_view_leaves_the_original_alone() -> None:
    store = noise(8)
    before = store.clone()
    image_geometry.crop(store[::2], torch.zeros(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64), 4, FILL)
    assert torch.equal(store, before)
