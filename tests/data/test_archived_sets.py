"""N-MNIST's subset and Ev-Objects, from small archives made here."""

import io
import zipfile

import numpy as np
import pytest

from bitspike.data import dataset_info, load


def nmnist(*events) -> bytes:
    return b"".join(bytes([x, y, p << 7, t >> 8, t & 255]) for x, y, t, p in events)


MEMBERS = {
    "NMNISTsmall/train1K.txt": b"#sample #class\r\n1\t5\r\n2\t0\r\n",
    "NMNISTsmall/test100.txt": b"#sample #class\r\n60001\t7\r\n",
    "NMNISTsmall/1.bs2": nmnist((1, 2, 0, 0), (1, 2, 100, 1)),
    "NMNISTsmall/2.bs2": nmnist((3, 4, 0, 0)),
    "NMNISTsmall/60001.bs2": nmnist((5, 6, 0, 1)),
}


@pytest.mark.parametrize("kind", ["NMNISTsmall.tar.xz", "NMNISTsmall.tar.gz", "NMNISTsmall.zip", "NMNISTsmall"])
def test_nmnist_subset_from_any_packing(tmp_path, make_tar, kind):
    folder = tmp_path / "nmnist-subset"
    folder.mkdir()
    if ".tar" in kind:
        make_tar(folder / kind, MEMBERS)
    elif kind.endswith(".zip"):
        with zipfile.ZipFile(folder / kind, "w") as archive:
            for name, data in MEMBERS.items():
                archive.writestr(name, data)
    else:
        (folder / kind).mkdir()
        for name, data in MEMBERS.items():
            (folder / name).write_bytes(data)
    train = load("nmnist-subset", "train", root=tmp_path, verify=False, time_steps=2)
    assert train.labels.tolist() == [5, 0]
    assert train.inputs.shape == (2, 2, 2, 34, 34)
    assert train.inputs[0, 0, 0, 2, 1] == train.inputs[0, 1, 1, 2, 1] == train.inputs[1, 0, 0, 4, 3] == 1
    assert load("nmnist-subset", "test", root=tmp_path, verify=False).labels.tolist() == [7]
    with pytest.raises(ValueError, match="wrong checksum, expected sha256 e9b640d7"):
        load("nmnist-subset", "train", root=tmp_path)
    info = dataset_info("nmnist-subset", tmp_path, verify=True)
    assert (info["present"], info["files"][0]["checksum"]) == (True, "wrong")


def tar_with(tmp_path, make_tar, **changed):
    (tmp_path / "nmnist-subset").mkdir()
    members = {name: changed.get(name.split("/")[1].split(".")[0].strip("0"), data) for name, data in MEMBERS.items()}
    make_tar(tmp_path / "nmnist-subset" / "NMNISTsmall.tar.xz", {k: v for k, v in members.items() if v is not None})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"2": None}, r"2\.bs2 is missing, though the list names it"),
        ({"2": b"123"}, r"2\.bs2: 3 bytes, not a multiple of 5"),
        ({"train1K": None}, r"train1K\.txt is missing"),
        ({"train1K": b"1\t12\n"}, "the line '1\\\\t12' is not a number and a class"),
        ({"2": nmnist((40, 1, 0, 0))}, "outside the sensor of 34 x 34"),
    ],
)
def test_bad_nmnist_subsets(tmp_path, make_tar, changed, message):
    tar_with(tmp_path, make_tar, **changed)
    with pytest.raises(ValueError, match=message):
        load("nmnist-subset", "train", root=tmp_path, verify=False)


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def write_touch(tmp_path, members):
    (tmp_path / "ev-objects").mkdir()
    with zipfile.ZipFile(tmp_path / "ev-objects" / "Ev-Objects.zip", "w") as archive:
        archive.writestr("Ev-Objects/train/", b"")
        for name, data in members.items():
            archive.writestr(f"Ev-Objects/{name}", data)


def test_ev_objects_layout_by_hand(tmp_path):
    sample = np.zeros((39, 2, 250), np.float32)
    sample[7, 1, 10:13] = 1  # taxel 7, polarity 1, bins 10, 11, 12: frame 1 of 25
    sample[38, 0, 249] = 1  # the last of all: frame 24
    zeros = np.zeros_like(sample)
    members = {"train/sample_10_label_3.npy": npy(zeros), "train/sample_9_label_35.npy": npy(sample)}
    write_touch(tmp_path, members | {"test/sample_0_label_1.npy": npy(zeros)})
    data = load("ev-objects", "train", root=tmp_path, verify=False)
    assert data.inputs.shape == (2, 25, 2, 39, 1)
    assert data.labels.tolist() == [35, 3]
    assert {tuple(map(int, i)): int(data.inputs[0][tuple(i)]) for i in np.argwhere(data.inputs[0])} == {
        (1, 1, 7, 0): 3, (24, 0, 38, 0): 1
    }  # fmt: skip
    clipped = load("ev-objects", "train", root=tmp_path, verify=False, time_steps=1, bound=2)
    assert (clipped.inputs[0, 0, 1, 7, 0], clipped.clipped) == (2, 1)
    with pytest.raises(ValueError, match="by='count' needs single events"):
        load("ev-objects", "train", root=tmp_path, verify=False, by="count")
    with pytest.raises(ValueError, match="wrong checksum"):
        load("ev-objects", "train", root=tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("train/sample_0_label_36.npy", npy(np.zeros((39, 2, 250))), "K below 36"),
        ("train/other.npy", b"", "is not named"),
        ("train/sample_0_label_1.npy", npy(np.zeros((39, 2, 200))), r"must hold 0 and 1 in \[39, 2, 250\]"),
        ("train/sample_0_label_1.npy", npy(np.full((39, 2, 250), 0.5)), "must hold 0 and 1"),
        ("train/sample_0_label_1.npy", b"\x93NUMPY", r"no readable \.npy array"),
    ],
)
def test_bad_ev_objects(tmp_path, name, data, message):
    write_touch(tmp_path, {name: data})
    with pytest.raises(ValueError, match=message):
        load("ev-objects", "train", root=tmp_path, verify=False)


def test_an_object_array_inside_the_archive_is_refused(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_touch(tmp_path, {"train/sample_0_label_1.npy": stream.getvalue()})
    with pytest.raises(ValueError, match="no readable"):
        load("ev-objects", "train", root=tmp_path, verify=False)
