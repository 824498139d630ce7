import gzip
import lzma
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest

from bitspike.data import cifar, dataset_info, load
from bitspike.data.cifar import LAYOUTS, load_cifar

NAMES = [f"class {number}" for number in range(10)]


def batch(seed: int, samples: int = 4, **changes) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (samples, 3072), dtype=np.uint8)
    content = {"data": pixels, "labels": [(seed + i) % 10 for i in range(samples)], "batch_label": "x", **changes}
    return pickle.dumps(content, 2)


FILES = {f"data_batch_{number}": batch(number) for number in range(1, 6)} | {
    "test_batch": batch(9),
    "batches.meta": pickle.dumps({"label_names": NAMES}, 2),
}
INNER = "cifar-10-batches-py"


def check_content(folder, **options):
    train, test = (load_cifar("cifar10", folder, split, **options) for split in ("train", "test"))
    assert train.inputs.shape == (20, 3, 32, 32)
    assert test.class_names == tuple(NAMES)
    row = pickle.loads(FILES["data_batch_2"])["data"][0]
    # A row is red, green, blue, each row by row: colour 1, row 2, column 3 is value 1024 + 2 * 32 + 3.
    assert train.inputs[4, 1, 2, 3] == row[1024 + 64 + 3]
    assert train.labels.tolist()[:8] == [1, 2, 3, 4, 2, 3, 4, 5]
    assert test.labels.tolist() == [9, 0, 1, 2]


@pytest.mark.parametrize(("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)])
@pytest.mark.parametrize("place", [f"cifar10/{INNER}", "cifar10", INNER])
def test_batches_in_every_packing_and_place(tmp_path, suffix, pack, place):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / place).mkdir(exist_ok=True)
    for name, data in FILES.items():
        (tmp_path / place / (name + suffix)).write_bytes(pack(data))
    check_content(tmp_path / "cifar10", verify=False)


@pytest.mark.parametrize("place", ["cifar10/cifar-10-python.tar.gz", "cifar-10-python.tar.gz", "cifar-10-python.tar"])
def test_the_archive(tmp_path, make_tar, place, monkeypatch, md5_of):
    (tmp_path / "cifar10").mkdir()
    make_tar(tmp_path / place, {f"{INNER}/{name}": data for name, data in FILES.items()})
    check_content(tmp_path / "cifar10", verify=False)
    with pytest.raises(ValueError, match=r"member data_batch_1: wrong checksum, expected md5 c99cafc1"):
        load_cifar("cifar10", tmp_path / "cifar10", "train")
    assert {f["checksum"] for f in dataset_info("cifar10", tmp_path, verify=True)["files"]} == {"wrong"}
    layout = replace(LAYOUTS["cifar10"], checksums={name: md5_of(data) for name, data in FILES.items()})
    monkeypatch.setitem(cifar.LAYOUTS, "cifar10", layout)
    check_content(tmp_path / "cifar10")
    info = dataset_info("cifar10", tmp_path, verify=True)
    assert info["present"]
    assert {f["checksum"] for f in info["files"]} == {"ok"}


def test_cifar100(tmp_path, md5_of, monkeypatch):
    folder = tmp_path / "cifar100" / "cifar-100-python"
    folder.mkdir(parents=True)
    names = [f"fine {number}" for number in range(100)]
    train = {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [99, 0], "coarse_labels": [1, 2]}
    (folder / "train").write_bytes(pickle.dumps(train, 2))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names}, 2))
    data = load("cifar100", "train", root=tmp_path, verify=False)
    assert (data.classes, data.class_names[99], data.labels.tolist()) == (100, "fine 99", [99, 0])
    with pytest.raises(ValueError, match="train: wrong checksum, expected md5 16019d7e"):
        load("cifar100", "train", root=tmp_path)
    with pytest.raises(FileNotFoundError, match="file test is missing"):
        load("cifar100", "test", root=tmp_path, verify=False)


def write_batches(tmp_path, **changed: bytes):
    folder = tmp_path / "cifar10" / INNER
    folder.mkdir(parents=True)
    for name, data in {**FILES, **changed}.items():
        (folder / name).write_bytes(data)
    return folder.parent


class Shell:
    def __reduce__(self):
        return os.system, ("echo harm > harm.txt",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (pickle.dumps(Shell(), 2), r"test_batch: refused .* names '\w+\.system'"),
        (pickle.dumps({"data": np.array([Shell()], object), "labels": [1]}, 2), "dtype 'O8'"),
        (pickle.dumps([1, 2], 2), "'data' is no uint8 array"),
        (batch(1, data=np.zeros((4, 3072), np.int32)), "'data' is no uint8 array"),
        (batch(1, data=np.zeros((4, 3000), np.uint8)), "'data' is no uint8 array"),
        (batch(1, data=np.zeros(3072, np.uint8)), "'data' is no uint8 array"),
        (batch(1, labels="abcd"), "'labels' is no list of integers"),
        (batch(1, labels=[1, 2, 3]), "4 images but 3 labels"),
        (batch(1, labels=[1, 2, 3, 10]), r"labels run from 1 to 10, allowed: 0\.\.9"),
        (pickle.dumps({"labels": [1]}, 2), r"test_batch: the key 'data' is missing \(keys: 'labels'\)"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8)}, 2), "the key 'labels' is missing"),
        (batch(1)[:-500], "refused as a pickle of plain data"),
    ],
)
def test_bad_batches(tmp_path, monkeypatch, changed, message):
    monkeypatch.chdir(tmp_path)
    folder = write_batches(tmp_path, test_batch=changed)
    with pytest.raises(ValueError, match=message):
        load_cifar("cifar10", folder, "test", verify=False)
    assert not (tmp_path / "harm.txt").exists()


def test_wrong_checksum_stops_before_reading(tmp_path):
    folder = write_batches(tmp_path, test_batch=pickle.dumps(Shell(), 2))
    with pytest.raises(ValueError, match="test_batch: wrong checksum"):
        load_cifar("cifar10", folder, "test")


def test_a_begun_folder_beside_the_archive_uses_the_archive(tmp_path, make_tar):
    folder = write_batches(tmp_path)
    (folder / INNER / "data_batch_3").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_3 is missing"):
        load_cifar("cifar10", folder, "train", verify=False)
    make_tar(folder / "cifar-10-python.tar.gz", {f"{INNER}/{name}": data for name, data in FILES.items()})
    check_content(folder, verify=False)
    assert dataset_info("cifar10", tmp_path)["present"]


def test_bad_meta_and_nothing_there(tmp_path):
    folder = write_batches(tmp_path, **{"batches.meta": pickle.dumps({"label_names": 3}, 2)})
    with pytest.raises(ValueError, match="holds no list 'label_names'"):
        load_cifar("cifar10", folder, "test", verify=False)
    with pytest.raises(FileNotFoundError, match=r"neither cifar-10-batches-py/ nor cifar-10-python\.tar\.gz"):
        load_cifar("cifar10", tmp_path / "nowhere" / "cifar10", "test")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_keys_and_names_may_be_bytes(tmp_path, protocol):
    """Python 3 gives bytes for the original's text when asked to, and such batches are in use."""
    content = {key.encode(): value for key, value in pickle.loads(FILES["test_batch"]).items()}
    meta = {b"label_names": [name.encode() for name in NAMES]}
    changed = {"test_batch": pickle.dumps(content, protocol), "batches.meta": pickle.dumps(meta, protocol)}
    test = load_cifar("cifar10", write_batches(tmp_path, **changed), "test", verify=False)
    assert test.labels.tolist() == [9, 0, 1, 2]
    assert test.class_names == tuple(NAMES)


def test_an_empty_archive_is_damaged(tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar-10-python.tar.gz").touch()
    info = dataset_info("cifar10", tmp_path)
    assert not info["present"]
    assert {file["checksum"] for file in info["files"]} == {"damaged"}
