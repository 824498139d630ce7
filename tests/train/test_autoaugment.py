import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from bitspike.train.autoaugment import (
    CIFAR10_POLICY,
    OPERATIONS,
    PolicyDraws,
    apply_policy,
    draw_policy,
    operate,
)

FILL = (125, 123, 114)


def noise(batch: int, channels: int = 3, size: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, channels, size, size), dtype=torch.uint8, generator=generator)


def by_pillow(picture: Image.Image, operation: str, magnitude: int, sign: int) -> Image.Image:
    """The published operations with nearest interpolation, on one picture."""
    width, height = picture.size
    shear, shift = 0.3 * sign * magnitude / 9, 150 / 331 * sign * magnitude / 9
    rows = {
        "shear_x": (1, shear, 0, 0, 1, 0),
        "shear_y": (1, 0, 0, shear, 1, 0),
        "translate_x": (1, 0, shift * width, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift * height),
    }
    if operation in rows:
        return picture.transform(picture.size, Image.Transform.AFFINE, rows[operation], fillcolor=FILL)
    if operation == "rotate":
        return picture.rotate(30 * sign * magnitude / 9, fillcolor=FILL)
    if operation in ("color", "brightness", "contrast", "sharpness"):
        enhancer = getattr(ImageEnhance, operation.capitalize())(picture)
        return enhancer.enhance(1 + sign * 0.9 * magnitude / 9)
    if operation == "posterize":
        return ImageOps.posterize(picture, int(np.round(np.linspace(8, 4, 10))[magnitude]))
    if operation == "solarize":
        return ImageOps.solarize(picture, np.linspace(256, 0, 10)[magnitude])
    return getattr(ImageOps, operation)(picture)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_and_magnitude_equals_pillow(operation: str) -> None:
    images = noise(20)
    magnitude = torch.arange(10).repeat(2)
    sign = torch.tensor([-1] * 10 + [1] * 10)
    result = operate(images, operation, magnitude, sign, FILL)
    tolerance = int(operation in ("color", "brightness", "contrast", "sharpness"))
    for index in range(20):
        picture = Image.fromarray(images[index].permute(1, 2, 0).numpy())
        expected = np.asarray(by_pillow(picture, operation, int(magnitude[index]), int(sign[index])))
        difference = np.abs(result[index].permute(1, 2, 0).numpy().astype(int) - expected.astype(int))
        assert difference.max() <= tolerance
        assert (difference > 0).mean() < tolerance * 0.04 + 1e-9


def test_policy_table_is_complete() -> None:
    assert len(CIFAR10_POLICY) == 25
    for pair in CIFAR10_POLICY:
        assert len(pair) == 2
        for operation, probability, magnitude in pair:
            assert operation in OPERATIONS
            assert probability in [tenth / 10 for tenth in range(10)]
            assert magnitude in range(10)
    names = [step[0] for pair in CIFAR10_POLICY for step in pair]
    assert {name: names.count(name) for name in sorted(set(names))} == {
        "autocontrast": 7,
        "brightness": 4,
        "color": 5,
        "contrast": 2,
        "equalize": 9,
        "invert": 3,
        "posterize": 1,
        "rotate": 1,
        "sharpness": 5,
        "shear_y": 2,
        "solarize": 4,
        "translate_x": 2,
        "translate_y": 5,
    }


def test_images_of_one_batch_get_different_policies() -> None:
    draws = draw_policy(500, torch.Generator().manual_seed(0))
    assert set(draws.sub_policy.tolist()) == set(range(25))
    same = noise(1).repeat(64, 1, 1, 1)
    result = apply_policy(same, draw_policy(64, torch.Generator().manual_seed(1)), FILL)
    assert len({image.numpy().tobytes() for image in result}) > 20


def test_frequencies_follow_the_table() -> None:
    draws = draw_policy(200_000, torch.Generator().manual_seed(2))
    assert set(draws.sign.unique().tolist()) == {-1, 1}
    assert abs(draws.sign.double().mean()) < 0.01
    for index, pair in enumerate(CIFAR10_POLICY):
        mine = draws.sub_policy == index
        assert abs(mine.double().mean() - 1 / 25) < 0.005
        for stage in range(2):
            assert abs(draws.applied[mine, stage].double().mean() - pair[stage][1]) < 0.03


def test_both_operations_run_in_their_order() -> None:
    images = noise(2)
    index = CIFAR10_POLICY.index((("color", 0.9, 9), ("equalize", 0.6, 6)))
    draws = PolicyDraws(
        torch.tensor([index, index]),
        torch.tensor([[True, True], [False, True]]),
        torch.tensor([[-1, 1], [1, 1]]),
    )
    result = apply_policy(images, draws, FILL)
    one = torch.tensor([1])
    dull = operate(images[:1], "color", 9 * one, -one, FILL)
    assert torch.equal(result[:1], operate(dull, "equalize", 6 * one, one, FILL))
    assert torch.equal(result[1:], operate(images[1:], "equalize", 6 * one, one, FILL))


def test_nothing_drawn_nothing_changed_and_the_input_is_kept() -> None:
    images = noise(25)
    before = images.clone()
    idle = PolicyDraws(torch.arange(25), torch.zeros(25, 2, dtype=torch.bool), torch.ones(25, 2, dtype=torch.int64))
    assert torch.equal(apply_policy(images, idle, FILL), before)
    busy = PolicyDraws(idle.sub_policy, ~idle.applied, idle.sign)
    result = apply_policy(images, busy, FILL)
    assert torch.equal(images, before)
    assert not any(torch.equal(changed, image) for changed, image in zip(result, images, strict=True))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 40), st.sampled_from([1, 3]), st.integers(1, 20), st.integers(0, 2**31))
def test_an_image_does_not_depend_on_its_neighbours(batch: int, channels: int, size: int, seed: int) -> None:
    images = noise(batch, channels, size, seed)
    draws = draw_policy(batch, torch.Generator().manual_seed(seed))
    fill = FILL[:channels]
    together = apply_policy(images, draws, fill)
    assert together.shape == images.shape
    assert together.dtype == torch.uint8
    order = torch.randperm(batch, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(apply_policy(images[order], draws[order], fill), together[order])
    for index in range(min(batch, 6)):
        alone = slice(index, index + 1)
        assert torch.equal(apply_policy(images[alone], draws[alone], fill), together[alone])


def test_empty_places_take_the_fill_of_each_color() -> None:
    images = torch.full((1, 3, 32, 32), 250, dtype=torch.uint8)
    result = operate(images, "translate_y", torch.tensor([9]), torch.tensor([1]), FILL)
    assert result[0, :, -1, 0].tolist() == list(FILL)
    assert result[0, :, 0, 0].tolist() == [250] * 3


def test_errors_name_what_is_wrong() -> None:
    draws = draw_policy(2, torch.Generator())
    with pytest.raises(ValueError, match="must be one of cifar10, got 'svhn'"):
        draw_policy(2, torch.Generator(), "svhn")
    with pytest.raises(ValueError, match="1 or 3 colours, got 2"):
        apply_policy(noise(2, 2), draws, (0, 0))
    with pytest.raises(ValueError, match="draws for 2 images cannot serve a batch of 3"):
        apply_policy(noise(3), draws, FILL)
    with pytest.raises(ValueError, match=r"shear_x.*got 'blur'"):
        operate(noise(2), "blur", torch.tensor([1, 1]), torch.tensor([1, 1]), FILL)
