import numpy as np
import pytest
import torch

from bitspike.block import EventInput, Flatten, GlobalSumPool, ImageInput, MaxPool, SumPool


def image_input(**changes):
    return ImageInput(**{"shape": (2, 3, 4), "mean": (0.1, 0.5), "std": 0.25, "time_steps": 3, **changes})


def test_images_lose_their_zero_point_and_repeat_without_a_copy():
    block = image_input()
    assert block.zero_point == (26, 128)  # 25.5 and 127.5 round half up
    assert block.scale == pytest.approx(1 / 63.75)
    images = torch.zeros(5, 2, 3, 4, dtype=torch.uint8)
    images[0, 1, 2, 3] = 255
    got = block(images)
    assert got.shape == (3, 5, 2, 3, 4)
    assert got.stride(0) == 0
    assert got[2, 0, 1, 2, 3] == 127
    assert got[1, 4, 0].unique().tolist() == [-26.0]


def test_events_pass_unchanged():
    counts = torch.randint(0, 4, (3, 2, 2, 3, 4), dtype=torch.uint8)
    for value in (counts, counts.transpose(3, 4).contiguous().transpose(3, 4)):
        assert torch.equal(EventInput((2, 3, 4), bound=3)(value), counts.float())


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (torch.zeros(1, 2, 3, 4), TypeError, "got torch.float32; it takes uint8"),
        (torch.zeros(1, 3, 3, 4, dtype=torch.uint8), ValueError, r"\[1, 3, 3, 4\].*\[C, H, W\] = \[2, 3, 4\]"),
        (torch.zeros(2, 3, 4, dtype=torch.uint8), ValueError, r"shape \[2, 3, 4\]; it takes \[B, C, H, W\]"),
        (torch.zeros(1, 1, 2, 3, 4, dtype=torch.uint8), ValueError, r"it takes \[B, C, H, W\]"),
    ],
)
def test_wrong_images_are_refused(samples, error, message):
    with pytest.raises(error, match=message):
        image_input()(samples)


def events(*shape, value=0):
    return torch.full(shape, value, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (events(3, 1, 2, 3, 4).int(), TypeError, r"uint8 \[T, B, C, H, W\]"),
        (events(3, 2, 3, 4), ValueError, r"it takes \[T, B, C, H, W\]"),
        (events(2, 1, 2, 3, 4), ValueError, "got 2 time steps; it takes 3"),
        (events(3, 1, 2, 3, 4, value=5), ValueError, "counts up to 5; it takes at most 4"),
    ],
)
def test_wrong_events_are_refused(samples, error, message):
    with pytest.raises(error, match=message):
        EventInput((2, 3, 4), bound=4, time_steps=3)(samples)


def test_no_time_steps_are_refused():
    with pytest.raises(ValueError, match="got no time steps"):
        EventInput((2, 3, 4), bound=4)(events(0, 1, 2, 3, 4))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": (3, 4)}, "needed: \\(C, H, W\\)"),
        ({"mean": (0.5,)}, "one mean per colour"),
        ({"mean": (127.5, 0.5)}, "pixels scaled to 0 .. 1"),
        ({"mean": (float("nan"), 0.5)}, "pixels scaled to 0 .. 1"),
        ({"std": 0.0}, "std is 0.0"),
        ({"std": float("nan")}, "std is nan"),
        ({"std": float("inf")}, "std is inf"),
        ({"time_steps": 0}, "time_steps is 0"),
    ],
)
def test_image_inputs_that_make_no_sense(changes, message):
    with pytest.raises(ValueError, match=message):
        image_input(**changes)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"shape": (2, 3), "bound": 1}, "shape is"),
        ({"shape": (2, 3, 4), "bound": 0}, "bound is 0; allowed: 1 to 255"),
        ({"shape": (2, 3, 4), "bound": 256}, "bound is 256"),
        ({"shape": (2, 3, 4), "bound": 1, "time_steps": 0}, "time_steps is 0"),
    ],
)
def test_event_inputs_that_make_no_sense(choices, message):
    with pytest.raises(ValueError, match=message):
        EventInput(**choices)


def test_pools_and_flatten_in_float():
    value = torch.arange(18.0).reshape(1, 2, 1, 3, 3)
    assert MaxPool(2, 1)(value)[0, 1, 0].tolist() == [[13, 14], [16, 17]]
    assert MaxPool(2)(value)[0, 0, 0].tolist() == [[4]]
    assert SumPool(2)(value)[0, 0, 0].tolist() == [[0 + 1 + 3 + 4]]
    assert SumPool((3, 1), (1, 1))(value)[0, 0, 0].tolist() == [[9, 12, 15]]
    assert GlobalSumPool()(value).flatten().tolist() == [36, 117]
    assert Flatten()(value.reshape(1, 1, 2, 3, 3)).tolist() == [[list(range(18))]]


def test_pools_have_true_gradients():
    value = torch.rand(1, 1, 1, 4, 4, requires_grad=True)
    SumPool(2)(value).sum().backward()
    assert torch.equal(value.grad, torch.ones_like(value))
    value.grad = None
    MaxPool(2)(value).sum().backward()
    assert float(value.grad.sum()) == 4.0


def test_one_mean_is_that_of_every_colour():
    one, each = (
        ImageInput([3, 4, 4], mean=mean, std=0.25, time_steps=1) for mean in (np.float32(0.5), np.full(3, 0.5))
    )
    assert one.zero_point == each.zero_point == (128, 128, 128)
    with pytest.raises(ValueError, match="one mean per colour"):
        ImageInput((3, 4, 4), mean=(0.5, 0.5), std=0.25, time_steps=1)
