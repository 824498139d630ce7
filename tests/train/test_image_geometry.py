import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bitspike.train import image_geometry as geometry

FILL = (11, 22, 33)


def numbered(batch: int, channels: int, height: int, width: int) -> torch.Tensor:
    count = batch * channels * height * width
    return (torch.arange(count) % 251).to(torch.uint8).view(batch, channels, height, width)


def noise(batch: int, channels: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator)


def test_crop_by_hand() -> None:
    image = torch.tensor([[[[1, 2], [3, 4]]]], dtype=torch.uint8).repeat(4, 1, 1, 1)
    top, left = torch.tensor([1, 0, 2, 2]), torch.tensor([1, 0, 2, 0])
    result = geometry.crop(image, top, left, 1, (9,))
    assert result[:, 0].tolist() == [
        [[1, 2], [3, 4]],
        [[9, 9], [9, 1]],
        [[4, 9], [9, 9]],
        [[9, 3], [9, 9]],
    ]


def test_crop_fills_each_color_with_its_own_value() -> None:
    image = torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)
    result = geometry.crop(image, torch.tensor([0]), torch.tensor([2]), 2, FILL)
    assert result[0, :, 0, 0].tolist() == list(FILL)
    assert result[0, :, 1, 1].tolist() == list(FILL)


def test_flip_by_hand() -> None:
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]], dtype=torch.uint8).repeat(2, 1, 1, 1)
    result = geometry.flip(image, torch.tensor([True, False]))
    assert result[0, 0].tolist() == [[3, 2, 1], [6, 5, 4]]
    assert result[1, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_cutout_by_hand_clipped_at_the_border() -> None:
    image = torch.ones(3, 1, 4, 4, dtype=torch.uint8)
    result = geometry.cutout(image, torch.tensor([2, 0, 3]), torch.tensor([1, 0, 3]), 2, (7,))
    assert result[0, 0].tolist() == [[1, 1, 1, 1], [7, 7, 1, 1], [7, 7, 1, 1], [1, 1, 1, 1]]
    assert result[1, 0].tolist() == [[7, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert result[2, 0].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 7, 7], [1, 1, 7, 7]]


def test_odd_cutout_lies_around_its_pixel() -> None:
    result = geometry.cutout(torch.ones(1, 3, 5, 5, dtype=torch.uint8), torch.tensor([2]), torch.tensor([2]), 3, FILL)
    for channel, value in enumerate(FILL):
        assert (result[0, channel] == value).sum() == 9
        assert (result[0, channel, 1:4, 1:4] == value).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 12), st.data())
def test_roll_equals_torch_roll(
    batch: int, channels: int, height: int, width: int, limit: int, data: st.DataObject
) -> None:
    images = numbered(batch, channels, height, width)
    shifts = st.lists(st.integers(-limit, limit), min_size=batch, max_size=batch)
    down, right = torch.tensor(data.draw(shifts)), torch.tensor(data.draw(shifts))
    result = geometry.roll(images, down, right, limit)
    for index in range(batch):
        expected = torch.roll(images[index], (int(down[index]), int(right[index])), (1, 2))
        assert torch.equal(result[index], expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5), st.data())
def test_crop_equals_slicing(
    batch: int, channels: int, height: int, width: int, padding: int, data: st.DataObject
) -> None:
    images = numbered(batch, channels, height, width)
    places = st.lists(st.integers(0, 2 * padding), min_size=batch, max_size=batch)
    top, left = data.draw(places), data.draw(places)
    fill = tuple(range(50, 50 + channels))
    result = geometry.crop(images, torch.tensor(top), torch.tensor(left), padding, fill)
    for index in range(batch):
        for channel in range(channels):
            padded = np.pad(images[index, channel].numpy(), padding, constant_values=fill[channel])
            expected = padded[top[index] : top[index] + height, left[index] : left[index] + width]
            assert np.array_equal(result[index, channel].numpy(), expected)


def pillow_affine(image: torch.Tensor, row: torch.Tensor) -> np.ndarray:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    moved = picture.transform(picture.size, Image.Transform.AFFINE, row.tolist(), fillcolor=FILL)
    return np.asarray(moved).transpose(2, 0, 1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (17, 40)])
@pytest.mark.parametrize("kind", ["shear_x", "shear_y", "translate", "any"])
def test_affine_equals_pillow(kind: str, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(3)
    amount = (torch.rand(40, dtype=torch.float64, generator=generator) - 0.5) * 2
    matrix = {
        "shear_x": lambda: geometry.shear_x_matrix(amount),
        "shear_y": lambda: geometry.shear_y_matrix(amount),
        "translate": lambda: geometry.translate_matrix(amount * width, amount * 7),
        "any": lambda: torch.rand(40, 6, dtype=torch.float64, generator=generator) * 2 - 0.5,
    }[kind]()
    images = noise(40, height=height, width=width)
    result = geometry.affine(images, matrix, FILL).numpy()
    for index in range(40):
        assert np.array_equal(result[index], pillow_affine(images[index], matrix[index]))


@pytest.mark.parametrize(("height", "width"), [(32, 32), (21, 34)])
def test_rotation_equals_pillow(height: int, width: int) -> None:
    degrees = torch.linspace(-45, 45, 28, dtype=torch.float64)
    images = noise(28, height=height, width=width)
    result = geometry.affine(images, geometry.rotate_matrix(degrees, height, width), FILL).numpy()
    for index, angle in enumerate(degrees.tolist()):
        picture = Image.fromarray(images[index].permute(1, 2, 0).numpy()).rotate(angle, fillcolor=FILL)
        assert np.array_equal(result[index], np.asarray(picture).transpose(2, 0, 1)), angle


def test_centered_shear_keeps_the_middle_row() -> None:
    images = numbered(1, 1, 9, 9)
    matrix = geometry.centered(geometry.shear_x_matrix(torch.tensor([1.0], dtype=torch.float64)), 9, 9)
    result = geometry.affine(images, matrix, (255,))[0, 0]
    assert torch.equal(result[4], images[0, 0, 4])
    assert result[6].tolist() == [*images[0, 0, 6, 2:].tolist(), 255, 255]
    assert result[3].tolist() == [255, *images[0, 0, 3, :8].tolist()]


@pytest.mark.parametrize("fill", [(1, 2), (1, 2, 256), (1, 2, -1)])
def test_bad_fill_is_named(fill: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be 3 integers in 0\.\.255.*got \["):
        geometry.fill_color(fill, noise(1))


def test_bad_images_are_named() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[B, C, H, W\], got torch.float32 of shape \[1, 3, 32, 32\]"):
        geometry.check_images(noise(1).float())
    with pytest.raises(ValueError, match=r"uint8 \[B, T, C, H, W\], got torch.uint8 of shape \[1, 3, 32, 32\]"):
        geometry.check_images(noise(1), dimensions=5)
    with pytest.raises(TypeError, match="got ndarray"):
        geometry.check_images(noise(1).numpy())  # type: ignore[arg-type]
