"""`bitspike data` and what is below it, on folders made here."""

import gzip
import struct

import pytest

from bitspike.data import dataset_names


def write_images(folder, name, count):
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"{name}.gz", "wb") as file:
        file.write(struct.pack(">4i", 2051, count, 28, 28) + bytes(784 * count))


def test_the_list_names_every_set_and_where_it_was_looked_for(cli, tmp_path):
    found = cli("data", "--data-root", tmp_path, "--json").json
    assert [item["name"] for item in found["datasets"]] == dataset_names()
    assert found["roots"] == [str(tmp_path)]
    assert {item["name"] for item in found["datasets"] if item["present"]} <= {"digits"}
    shown = cli("data", "--root", tmp_path).out
    assert all(name in shown for name in dataset_names())
    assert "bitspike data fetch mnist" in " ".join(shown.split())


def test_digits_are_there(cli):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: pip install bitspike[train]")
    assert cli("data", "info", "digits", "--json").json["present"] is True
    assert cli("data", "verify", "digits").code == 0
    done = cli("data", "fetch", "digits", "--json")
    assert done.code == 0
    assert done.json["fetched"] == []


def test_a_name_alone_shows_what_is_known_of_it(cli, tmp_path):
    short, long = cli("data", "mnist", "--data-root", tmp_path), cli("data", "info", "mnist", "--root", tmp_path)
    assert short.out == long.out
    assert "missing" in short.out
    assert str(tmp_path / "mnist") in short.out


def test_an_incomplete_set_is_called_that(cli, tmp_path):
    write_images(tmp_path / "mnist", "t10k-images-idx3-ubyte", 1)
    assert "incomplete" in cli("data", "mnist", "--root", tmp_path).out
    done = cli("data", "verify", "mnist", "--root", tmp_path, "--json")
    assert done.code == 1
    assert done.json["passed"] is False
    assert done.json["present"] is False


def test_files_that_are_not_the_published_ones_fail_the_check(cli, tmp_path):
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        write_images(tmp_path / "mnist", name, 1)
    done = cli("data", "verify", "mnist", "--root", tmp_path, "--json")
    assert done.code == 1
    assert [item["checksum"] for item in done.json["files"]] == ["wrong"] * 4
    assert "damaged" in done.json["verdict"]
    shown = cli("data", "info", "mnist", "--root", tmp_path)
    assert shown.code == 0
    assert "wrong" not in shown.out  # nothing was read, so nothing is claimed


def test_fetching_from_nowhere_is_a_failure_with_the_address(cli, tmp_path, monkeypatch):
    from bitspike.data import loading

    def refuse(item, root, *, mirrors, progress):
        progress(item.name, 10, 100)
        raise OSError(f"could not fetch {item.name}: tried https://example.org (no route)")

    monkeypatch.setattr(loading, "download_file", refuse)
    done = cli("data", "fetch", "mnist", "--root", tmp_path, "--json")
    assert done.code == 1
    assert "could not fetch train-images" in done.json["error"]
