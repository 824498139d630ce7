import json
import subprocess
import sys
from pathlib import Path

import pytest

from bitspike.data import data_roots, dataset_info, dataset_kind, dataset_names, load, roots

CONTRACT = ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "nmnist-subset", "ev-objects"]


def test_names_and_kinds():
    assert dataset_names()[: len(CONTRACT)] == CONTRACT
    assert {dataset_kind(name) for name in CONTRACT[:5]} == {"images"}
    assert {dataset_kind(name) for name in CONTRACT[5:]} == {"events"}


@pytest.mark.parametrize("name", [name for name in CONTRACT if name != "digits"])
def test_missing_sets_say_where_and_how(tmp_path, name):
    with pytest.raises(FileNotFoundError) as caught:
        load(name, "train", root=tmp_path)
    assert str(tmp_path / name) in str(caught.value)
    assert "BITSPIKE_DATA" in str(caught.value)
    assert f"bitspike data fetch {name}" in str(caught.value) or "NMNISTsmall.zip" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnits", {}, "data set 'mnits' is not known: use one of digits, mnist, "),
        ("mnist", {"split": "valid"}, "split 'valid' does not exist: use 'train' or 'test'"),
        ("mnist", {"time_steps": 4}, "mnist: holds still images, to which time_steps=4 does not apply"),
        ("mnist", {"by": "time", "bound": 3}, "bound=3, by='time' does not apply"),
        ("cifar10", {"size": (16, 16)}, r"samples are \[3, 32, 32\]; size=\(16, 16\) cannot be had"),
        ("ev-objects", {"size": (13, 1)}, r"size=\(13, 1\) cannot be had"),
        ("nmnist-subset", {"time_steps": 0}, "time_steps is 0, but must be a whole number"),
        ("nmnist-subset", {"bound": 0}, "bound is 0"),
        ("nmnist-subset", {"by": "luck"}, "by is 'luck'"),
    ],
)
def test_bad_requests_are_refused_before_any_file_is_read(tmp_path, name, options, message):
    with pytest.raises(ValueError, match=message):
        load(name, options.pop("split", "train"), root=tmp_path, **options)


@pytest.mark.parametrize("name", dataset_names())
def test_info_is_plain_data_and_reads_nothing(tmp_path, name):
    info = json.loads(json.dumps(dataset_info(name, tmp_path)))
    assert (info["name"], info["kind"]) == (name, dataset_kind(name))
    assert info["present"] is (name == "digits")
    assert info["where"] is None
    assert all(file["checksum"] == "missing" for file in info["files"])
    assert info["advice"]


def test_info_of_an_incomplete_and_damaged_set(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"wrong")
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(b"no gzip")
    info = dataset_info("mnist", tmp_path)
    assert (info["present"], info["where"]) == (False, str(folder))
    states = {file["file"]: file["checksum"] for file in dataset_info("mnist", tmp_path, verify=True)["files"]}
    assert states == {
        "train-images-idx3-ubyte": "missing",
        "train-labels-idx1-ubyte": "missing",
        "t10k-images-idx3-ubyte": "unreadable",
        "t10k-labels-idx1-ubyte": "wrong",
    }


def test_an_empty_file_is_damaged_and_unreadable_ones_say_why(tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{file}-ubyte.gz").write_bytes(b"no gzip")
    assert dataset_info("mnist", tmp_path)["present"]
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"")
    info = dataset_info("mnist", tmp_path)
    assert not info["present"]
    assert {file["file"]: file.get("reason") for file in info["files"] if file["checksum"] == "damaged"} == {
        "t10k-labels-idx1-ubyte": "the file is empty"
    }
    first = dataset_info("mnist", tmp_path, verify=True)["files"][0]
    assert first["checksum"] == "unreadable"
    assert "gz" in first["reason"]


def test_roots_in_order(tmp_path, monkeypatch):
    assert data_roots(tmp_path) == (tmp_path,)
    monkeypatch.setenv("BITSPIKE_DATA", str(tmp_path / "variable"))
    assert data_roots() == (tmp_path / "variable",)
    assert data_roots(tmp_path / "given") == (tmp_path / "given",)
    monkeypatch.delenv("BITSPIKE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(roots, "_development_root", lambda: tmp_path / "shared")
    assert data_roots() == (tmp_path / "shared", tmp_path / "cache" / "bitspike" / "data")
    assert roots.download_root() == tmp_path / "cache" / "bitspike" / "data"
    monkeypatch.setattr(roots, "_development_root", lambda: None)
    assert data_roots() == (tmp_path / "cache" / "bitspike" / "data",)


@pytest.mark.parametrize(("system", "part"), [("darwin", "Library/Caches"), ("win32", "AppData/Local")])
def test_cache_folder_of_other_systems(system, part, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert roots.cache_folder() == Path.home() / part / "bitspike"


def test_importing_data_brings_neither_torch_nor_other_optional_packages():
    script = (
        "import sys; import bitspike.data; "
        "print(sorted({'torch', 'sklearn', 'PIL', 'scipy', 'pickle'} & set(sys.modules)))"
    )
    source = str(Path(roots.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert "torch" not in result.stdout
    assert "sklearn" not in result.stdout
    assert "PIL" not in result.stdout
