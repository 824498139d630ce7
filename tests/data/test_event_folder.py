import struct

import numpy as np
import pytest

from bitspike.data import Binning, load, load_event_folder
from bitspike.data.recording import natural_order


def nmnist(*events) -> bytes:
    return b"".join(bytes([x, y, p << 7, 0, t]) for x, y, t, p in events)


def test_nmnist_as_published(tmp_path):
    recordings = [("Train/0/00002", 1), ("Train/0/00010", 2), ("Train/1/00001", 3), ("Test/1/00001", 4)]
    for name, x in recordings:
        path = tmp_path / "nmnist" / f"{name}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(nmnist((x, 0, 0, 1), (x, 0, 9, 1)))
    train = load("nmnist", "train", root=tmp_path, time_steps=3)
    assert train.inputs.shape == (3, 3, 2, 34, 34)
    assert train.labels.tolist() == [0, 0, 1]
    assert [int(np.flatnonzero(sample[0, 1, 0])[0]) for sample in train.inputs] == [1, 2, 3]
    test = load("nmnist", "test", root=tmp_path, time_steps=3, bound=7)
    assert (test.labels.tolist(), test.bound, test.time_steps, test.class_names) == ([1], 7, 3, ("0", "1"))


def test_dvs_cifar10_splits_off_the_last_tenth_by_number(tmp_path):
    folder = tmp_path / "dvs-cifar10" / "airplane"
    folder.mkdir(parents=True)
    for number in range(20):
        events = b"".join(struct.pack(">Ii", number << 8, t) for t in (5, 6))
        (folder / f"cifar10_airplane_{number}.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + events)
    options = {"root": tmp_path, "time_steps": 2, "size": (64, 64)}
    train, test = (load("dvs-cifar10", split, **options) for split in ("train", "test"))
    assert (len(train), len(test)) == (18, 2)
    assert train.class_names == ("airplane",)
    # Recordings 18 and 19 have their events in bits 8-14 = 18, 19: column 127 - 18 of 128, so 54 of 64.
    assert [np.argwhere(sample[0, 1])[0].tolist() for sample in test.inputs] == [[63, 54], [63, 54]]


def test_a_tenth_of_few_recordings_is_no_test_split(tmp_path):
    for name, count in (("left", 9), ("right", 10), ("up", 0)):
        (tmp_path / name).mkdir()
        for number in range(count):
            np.save(tmp_path / name / f"{number}.npy", np.array([[1, 1, 5, 1]]))
    options = {"sensor": (3, 3), "binning": Binning(2)}
    assert load_event_folder(tmp_path, "train", **options).labels.tolist() == [0] * 9 + [1] * 9
    with pytest.raises(
        ValueError, match=r"10 recordings are needed, but there are fewer of left \(9\), up \(0\); give"
    ):
        load_event_folder(tmp_path, "test", **options)
    for name in ("left", "up"):
        np.save(tmp_path / name / "last.npy", np.array([[1, 1, 5, 1]]))
        for number in range(9):
            np.save(tmp_path / name / f"{number}.npy", np.array([[1, 1, 5, 1]]))
    assert load_event_folder(tmp_path, "test", **options).labels.tolist() == [0, 1, 2]


def test_mixed_formats_and_frames(tmp_path):
    folder = tmp_path / "own" / "train" / "a"
    folder.mkdir(parents=True)
    (folder / "1.bin").write_bytes(nmnist((1, 2, 0, 0), (1, 2, 1, 0), (1, 2, 2, 0)))
    frames = np.zeros((4, 2, 3, 3), np.uint8)
    frames[3, 1, 2, 2] = 9
    np.save(folder / "2.npy", frames)
    np.save(folder / "3.npy", np.array([[5, 0, 0, 1]]))
    (folder / "notes.txt").write_text("no recording")
    data = load_event_folder(tmp_path / "own", "train", sensor=(3, 3), binning=Binning(2, bound=2), columns="txyp")
    assert data.inputs.sum(axis=(1, 2, 3, 4)).tolist() == [3, 2, 1]
    assert data.clipped == 7
    assert data.name == "own"


def test_errors(tmp_path):
    options = {"sensor": (3, 3), "binning": Binning(2)}
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_event_folder(tmp_path / "no", "train", **options)
    (tmp_path / "train" / "a").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="none for test"):
        load_event_folder(tmp_path, "test", **options)
    with pytest.raises(FileNotFoundError, match="holds no recordings"):
        load_event_folder(tmp_path, "train", **options)
    (tmp_path / "test" / "b").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"classes \['b'\] do not occur in train"):
        load_event_folder(tmp_path, "test", **options)
    with pytest.raises(ValueError, match="split 'all' does not exist"):
        load_event_folder(tmp_path, "all", **options)
    np.save(tmp_path / "train" / "a" / "1.npy", np.zeros((4, 2, 5, 5), int))
    with pytest.raises(ValueError, match=r"frames of \[5, 5\], but the sensor is \[3, 3\]"):
        load_event_folder(tmp_path, "train", **options)


def test_natural_order():
    names = ["a10", "a2", "b1", "a2b", "10", "9"]
    assert sorted(names, key=natural_order) == ["9", "10", "a2", "a2b", "a10", "b1"]
