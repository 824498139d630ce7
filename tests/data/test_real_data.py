"""The original files, where they are: counts, statistics and checksums as published."""

import numpy as np
import pytest

from bitspike.data import Binning, dataset_info, load, measure_statistics, read_recording
from bitspike.data.cifar import LAYOUTS
from bitspike.data.packed import iterate_members
from bitspike.data.sources import inspect_source

pytestmark = pytest.mark.data

MNIST_COUNTS = {
    "train": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "test": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


@pytest.mark.parametrize(("name", "mean", "std"), [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)])
def test_mnist_family(real_folder, name, mean, std):
    root = real_folder(name).parent
    train, test = load(name, "train", root=root), load(name, "test", root=root)
    assert (train.inputs.shape, test.inputs.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert (train.mean, train.std) == (test.mean, test.std) == measure_statistics(train.inputs)
    assert (round(train.mean[0], 4), round(train.std, 4)) == (mean, std)
    for data in (train, test):
        expected = MNIST_COUNTS[data.split] if name == "mnist" else [len(data) // 10] * 10
        assert np.bincount(data.labels).tolist() == expected
    info = dataset_info(name, root, verify=True)
    assert [file["checksum"] for file in info["files"]] == ["ok"] * 4


def test_cifar10(real_folder):
    root = real_folder("cifar10").parent
    test = load("cifar10", "test", root=root)
    assert test.inputs.shape == (10000, 3, 32, 32)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.class_names == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    )  # fmt: skip
    assert int(test.inputs.sum(dtype=np.int64)) == 3733375634


@pytest.mark.slow
def test_cifar10_train(real_folder):
    train = load("cifar10", "train", root=real_folder("cifar10").parent)
    assert np.bincount(train.labels).tolist() == [5000] * 10
    assert (train.mean, train.std) == measure_statistics(train.inputs)
    assert [round(value, 4) for value in train.mean] == [0.4914, 0.4822, 0.4465]


def test_a_cifar_file_is_held_against_its_checksum(real_folder):
    from bitspike.data.sources import SourceFile

    folder = real_folder("cifar10") / "cifar-10-batches-py"
    meta = SourceFile("batches.meta", LAYOUTS["cifar10"].checksums["batches.meta"])
    assert inspect_source(folder, meta, check=True).checksum == "ok"


def test_nmnist_subset(real_folder):
    folder = real_folder("nmnist-subset")
    train, test = (load("nmnist-subset", split, root=folder.parent, bound=255) for split in ("train", "test"))
    assert (train.inputs.shape, test.inputs.shape) == ((1000, 10, 2, 34, 34), (100, 10, 2, 34, 34))
    assert np.bincount(train.labels).tolist() == [97, 116, 99, 93, 105, 92, 94, 117, 87, 100]
    assert np.bincount(test.labels).tolist() == [8, 14, 8, 11, 14, 7, 10, 15, 2, 11]
    # Every event is somewhere: 4,518,827 in all.
    assert int(train.inputs.sum(dtype=np.int64)) + int(test.inputs.sum(dtype=np.int64)) == 4_518_827
    per_sample = train.inputs.sum(axis=(1, 2, 3, 4), dtype=np.int64)
    assert (int(per_sample.min()), int(per_sample.max())) == (1112, 7152)
    clipped = load("nmnist-subset", "test", root=folder.parent, time_steps=4, bound=2, size=(17, 17))
    assert clipped.inputs.shape == (100, 4, 2, 17, 17)
    assert clipped.clipped == int(test.inputs.sum(dtype=np.int64)) - int(clipped.inputs.sum(dtype=np.int64)) > 0


def test_a_recording_equals_its_sample(real_folder, tmp_path):
    from bitspike.data import bin_events

    folder = real_folder("nmnist-subset")
    wanted = "NMNISTsmall/60001.bs2"
    for name, data in iterate_members(folder / "NMNISTsmall.tar.xz", lambda name: name == wanted):
        (tmp_path / "60001.bs2").write_bytes(data)
        assert name == wanted
    test = load("nmnist-subset", "test", root=folder.parent, time_steps=5, by="count")
    binned = bin_events(read_recording(tmp_path / "60001.bs2"), (34, 34), Binning(5, by="count"))
    np.testing.assert_array_equal(binned.frames, test.inputs[0])


def test_nmnist_pictures_stand_as_their_mnist_digits_do(real_folder):
    """Events lie on edges: summed over time, they look like the outline of their own digit, and only upright."""
    events = load("nmnist-subset", "test", root=real_folder("nmnist-subset").parent, bound=255)
    digits = load("mnist", "test", root=real_folder("mnist").parent).subset(slice(0, 100))
    assert events.labels.tolist() == digits.labels.tolist()
    pictures = events.inputs.sum(axis=(1, 2), dtype=np.int64)
    shapes = np.pad(digits.inputs[:, 0].astype(int), ((0, 0), (3, 3), (2, 4)))
    outlines = sum(abs(np.diff(shapes, axis=axis, append=0)) for axis in (1, 2)).reshape(100, -1).astype(float)
    outlines -= outlines.mean(axis=1, keepdims=True)
    outlines /= np.linalg.norm(outlines, axis=1, keepdims=True)

    def own_digit_wins(turned):
        return (turned.reshape(100, -1).dot(outlines.T).argmax(axis=1) == np.arange(100)).mean()

    assert own_digit_wins(pictures) > 0.5
    assert own_digit_wins(pictures.transpose(0, 2, 1)) < 0.2
    assert own_digit_wins(pictures[:, :, ::-1]) < 0.2


def test_ev_objects(real_folder):
    root = real_folder("ev-objects").parent
    train, test = (load("ev-objects", split, root=root) for split in ("train", "test"))
    assert (train.inputs.shape, test.inputs.shape) == ((576, 25, 2, 39, 1), (144, 25, 2, 39, 1))
    assert np.bincount(train.labels).tolist() == [16] * 36
    assert np.bincount(test.labels).tolist() == [4] * 36
    totals = np.concatenate([data.inputs.sum(axis=(1, 2, 3, 4), dtype=np.int64) for data in (train, test)])
    assert (int(totals.min()), int(totals.max())) == (22, 6531)
    assert train.clipped == test.clipped == 0
    coarse = load("ev-objects", "test", root=root, time_steps=5, bound=255)
    np.testing.assert_array_equal(coarse.inputs, test.inputs.reshape(144, 5, 5, 2, 39, 1).sum(axis=2))
