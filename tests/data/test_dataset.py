import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitspike.data import Dataset, dataset_from_arrays, measure_statistics


def images(samples=4, shape=(3, 2, 2)):
    return (np.arange(samples * int(np.prod(shape))) % 256).astype(np.uint8).reshape(samples, *shape)


def test_images():
    data = dataset_from_arrays(images(), [0, 1, 2, 1])
    assert (len(data), data.kind, data.input_shape, data.time_steps) == (4, "images", (3, 2, 2), None)
    assert (data.classes, data.bound, len(data.mean)) == (3, 255, 3)


def test_one_mean_is_that_of_every_colour():
    pictures = np.zeros((2, 3, 4, 4), np.uint8)
    assert dataset_from_arrays(pictures, [0, 1], mean=0.25, std=1).mean == (0.25,) * 3


def test_numbers_of_numpy_and_torch():
    for number in (np.float32(0.25), np.array(0.25), torch.tensor(0.25)):
        data = dataset_from_arrays(images(), [0, 1, 2, 1], mean=number, std=number)
        assert (data.mean, data.std) == ((0.25,) * 3, 0.25)
    for numbers in (np.array([0.25, 0.5, 0.75]), torch.tensor([0.25, 0.5, 0.75])):
        assert dataset_from_arrays(images(), [0, 1, 2, 1], mean=numbers, std=0.5).mean == (0.25, 0.5, 0.75)
    counts = dataset_from_arrays(np.zeros((1, 1, 2, 1, 1), int), [0], bound=np.int64(3))
    assert counts.bound == 3


def test_events_keep_their_counts_and_bound():
    counts = np.zeros((2, 5, 2, 3, 4), np.int32)
    counts[1, 4, 0, 2, 3] = 9
    data = dataset_from_arrays(counts, [0, 1])
    assert (data.kind, data.input_shape, data.time_steps, data.bound) == ("events", (2, 3, 4), 5, 9)
    assert (data.mean, data.std) == ((), 1.0)
    assert data.inputs.dtype == np.uint8
    assert data.inputs[1, 4, 0, 2, 3] == 9
    assert dataset_from_arrays(counts, [0, 1], bound=15).bound == 15


def test_grey_images_get_a_channel():
    assert dataset_from_arrays(images(2, (8, 8)), [0, 1]).inputs.shape == (2, 1, 8, 8)


def test_fingerprint_is_what_its_definition_says_and_sees_every_part():
    data = dataset_from_arrays(images(), [0, 1, 2, 1])
    by_hand = hashlib.sha256(b"(4, 3, 2, 2)" + images().tobytes() + np.array([0, 1, 2, 1], "<i8").tobytes())
    assert data.fingerprint == by_hand.hexdigest()
    changed = images()
    changed[3, 2, 1, 1] ^= 1
    others = [
        dataset_from_arrays(changed, [0, 1, 2, 1]),
        dataset_from_arrays(images(), [0, 1, 2, 2]),
        dataset_from_arrays(images().reshape(4, 3, 1, 4), [0, 1, 2, 1]),
    ]
    assert len({data.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_subset():
    data = dataset_from_arrays(images(), [0, 1, 2, 1], class_names=("a", "b", "c"))
    for chosen in ([3, 0], np.array([3, 0])):
        part = data.subset(chosen)
        assert part.labels.tolist() == [1, 0]
        np.testing.assert_array_equal(part.inputs, images()[[3, 0]])
        assert (part.mean, part.classes, part.class_names) == (data.mean, 3, ("a", "b", "c"))
    assert data.subset(slice(1, 3)).labels.tolist() == [1, 2]
    assert data.subset(data.labels == 1).labels.tolist() == [1, 1]
    assert len(data.subset([])) == 0
    assert data.subset([0, 1]).fingerprint != data.fingerprint


@given(arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 3), st.just(2), st.just(3))))
def test_statistics_equal_numpy(pictures):
    mean, std = measure_statistics(pictures)
    scaled = pictures.astype(np.float64) / 255
    assert mean == pytest.approx(tuple(scaled.mean((0, 2, 3))), abs=1e-12)
    assert std == pytest.approx(float(np.sqrt(scaled.var((0, 2, 3)).mean())), abs=1e-7)


def test_statistics_by_hand_and_over_chunks():
    pictures = np.zeros((5000, 2, 1, 1), np.uint8)
    pictures[::2, 0] = 255
    mean, std = measure_statistics(pictures)
    assert mean == (0.5, 0.0)
    assert std == pytest.approx(0.125**0.5)


BAD = [
    (images().astype(np.float32), [0, 1, 2, 1], {}, TypeError, "inputs are float32, but must be a uint8 array"),
    (images().tolist(), [0, 1, 2, 1], {}, TypeError, "inputs are list, but must be a numpy array"),
    (images().reshape(4, 12), [0, 1, 2, 1], {}, ValueError, r"inputs have shape \[4, 12\]"),
    (images(4, (3, 0, 2)), [0, 1, 2, 1], {}, ValueError, "no size zero"),
    (images(), [0, 1, 2], {}, ValueError, r"labels have shape \[3\], but 4 inputs need \[4\]"),
    (images(), [[0, 1, 2, 1]], {}, ValueError, r"labels have shape \[1, 4\], but must be \[N\]"),
    (images(), [0, 1, 2.5, 1], {}, TypeError, "labels are float64, but must be integers"),
    (images(), [0, 1, -1, 1], {}, ValueError, r"label -1 of sample 2 is out of range 0\.\.1"),
    (images(), [0, 1, 5, 1], {"classes": 5}, ValueError, r"label 5 of sample 2 is out of range 0\.\.4"),
    (images(), [0, 1, 2, 1], {"classes": 3, "class_names": ["a"]}, ValueError, "1 class names for 3 classes"),
    (images(), [0, 1, 2, 1], {"mean": [0.5], "std": 0.2}, ValueError, "1 mean values for 3 colours"),
    (images(), [0, 1, 2, 1], {"std": 0.0}, ValueError, "std is 0.0, but must be above 0"),
    (images(), [0, 1, 2, 1], {"split": "valid"}, ValueError, "use 'train' or 'test'"),
    (images(), [0, 1, 2, 1], {"bound": 15}, ValueError, "bound=15 is for event counts"),
    (images(), [0, 1, 2, 1], {"mean": [0.5, float("nan"), 0.5]}, ValueError, "must be finite numbers"),
    (images(), [0, 1, 2, 1], {"std": float("inf")}, ValueError, "std inf must be finite numbers"),
    (images(4, (8, 9, 3)), [0, 1, 2, 1], {}, ValueError, r"\[N, H, W, C\].*numpy\.moveaxis\(x, -1, 1\)"),
    (images(4, (8, 9, 1)), [0, 1, 2, 1], {}, ValueError, r"numpy\.moveaxis\(x, -1, 1\)"),
    (images(0), [], {}, ValueError, "must hold at least one sample"),
    (images(), [], {}, ValueError, "labels are empty"),
    (images(), [0, 1, 2, 999_999], {}, ValueError, "label 999999 would mean 1000000 classes"),
    (np.full((1, 1, 2, 1, 1), 300), [0], {}, ValueError, "event counts run from 300 to 300"),
    (np.full((1, 1, 2, 1, 1), -1), [0], {}, ValueError, "event counts run from -1 to -1"),
    (np.full((1, 1, 2, 1, 1), 9), [0], {"bound": 8}, ValueError, r"given: 8\); clip them first"),
    (np.zeros((1, 1, 2, 1, 1), int), [0], {"bound": 3.0}, ValueError, r"whole bound from 1 to 255 \(given: 3.0\)"),
    (np.zeros((1, 1, 2, 1, 1), int), [0], {"bound": 256}, ValueError, r"given: 256"),
    (images(), [0, 1, 2, 1], {"mean": "grey"}, TypeError, "mean is 'grey'; give a number, or one for each channel"),
    (np.zeros((1, 1, 2, 1, 1)), [0], {}, TypeError, "event counts are float64, but must be integers"),
    (np.zeros((1, 1, 2, 1, 1), int), [0], {"mean": [0.5]}, ValueError, "mean and std are for images"),
]


@pytest.mark.parametrize(("inputs", "labels", "options", "kind", "message"), BAD)
def test_bad_arrays(inputs, labels, options, kind, message):
    with pytest.raises(kind, match=message):
        dataset_from_arrays(inputs, labels, **options)


def test_narrow_images_and_many_stated_classes_are_taken():
    assert dataset_from_arrays(images(2, (64, 1, 1)), [0, 1]).input_shape == (64, 1, 1)
    assert dataset_from_arrays(images(2, (8, 4, 4)), [0, 1]).input_shape == (8, 4, 4)
    assert dataset_from_arrays(images(2), [0, 1_500_000], classes=2_000_000).classes == 2_000_000


def test_the_class_itself_checks_too():
    labels = np.array([0, 1, 2, 1])
    with pytest.raises(TypeError, match="labels are int32, but must be an int64 array"):
        Dataset("x", "train", images(), labels.astype(np.int32), 3, mean=(0.0,) * 3)
    with pytest.raises(ValueError, match="bound is 256"):
        Dataset("x", "train", images(), labels, 3, mean=(0.0,) * 3, bound=256)
    with pytest.raises(ValueError, match="inputs reach 47, above their bound 9"):
        Dataset("x", "train", images(), labels, 3, mean=(0.0,) * 3, bound=9)
    with pytest.raises(ValueError, match="0 classes"):
        Dataset("x", "train", images(), labels, 0, mean=(0.0,) * 3)
