"""`bitspike export`."""

import subprocess

import numpy as np
import pytest

from needed_tools import need_module, need_tool


def test_the_folder_is_written_and_proves_itself(cli, written, tmp_path):
    need_tool("make")
    done = cli("export", "c", written["small"], "c", "--data", "digits", "--samples", "3", "--json")
    assert done.code == 0
    found = done.json
    assert (found["name"], found["self_test_samples"], found["data"]) == ("small", 3, "digits")
    assert found["ram_bytes"] < found["ram_bytes_reuse"]
    assert found["weight_bytes"] < found["constant_bytes"]
    assert all((tmp_path / "c" / file).is_file() for file in found["files"])
    tested = subprocess.run(["make", "-s", "-C", "c", "test"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert tested.stdout.splitlines()[-1] == "self-test passed"
    assert "sample 2 logits" in tested.stdout


def test_model_files_folders_and_integer_files_give_the_same(cli, trained, written, tmp_path):
    for number, model in enumerate((written["small"], trained["small"], trained["small"].parent)):
        assert cli("export", "c", model, f"c{number}", "--name", "same").code == 0
    texts = [(tmp_path / f"c{number}" / "same.c").read_bytes() for number in range(3)]
    assert texts[0] == texts[1] == texts[2]


def test_events_bring_their_samples(cli, written, event_root):
    done = cli("export", "c", written["events"], "c", "--data", "nmnist", "--data-root", event_root, "--json")
    assert done.code == 0
    assert done.json["self_test_samples"] == 2


def test_sizes_and_what_is_next_are_shown(cli, written):
    done = cli("export", "c", written["small"], "c")
    assert "functions small_init, _step, _logits, _argmax" in done.out
    assert "memory with BITSPIKE_REUSE_INPUT=1" in done.out
    assert "next: make -C c test" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("c", "--name", "1x"), 'name is "1x"; it becomes the prefix'),
        (("c", "--samples", "0"), "--samples is 0; give 1 or more"),
        (("c", "--data", "mnistt"), 'there is no data set "mnistt"'),
        (("full",), "full holds files that are no earlier export; give a new or empty folder"),
        (("full", "--force"), "full holds files that are no earlier export"),
    ],
)
def test_wrong_words_are_refused(cli, written, tmp_path, words, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = cli("export", "c", written["small"], *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "c").exists()


def test_an_earlier_export_is_replaced_only_when_told(cli, written):
    assert cli("export", "c", written["small"], "c").code == 0
    again = cli("export", "c", written["small"], "c")
    assert again.code == 2
    assert "or ask to overwrite it (--force)" in again.err
    assert cli("export", "c", written["small"], "c", "--force").code == 0


def test_data_that_does_not_fit_is_refused(cli, written, event_root):
    done = cli("export", "c", written["small"], "c", "--data", "nmnist", "--data-root", event_root)
    assert done.code == 2
    assert "nmnist brings samples of shape" in done.err


def test_a_float_network_is_refused(cli, trained):
    done = cli("export", "c", trained["float"], "c")
    assert done.code == 2
    assert "no integer form" in done.err


def test_a_nir_file_is_the_integer_network_for_every_command(cli, written, tmp_path):
    need_module("nir")
    done = cli("export", "nir", written["small"], "small.nir", "--data", "digits", "--samples", "50", "--json")
    assert done.code == 0
    found = done.json
    assert found["bytes"] == (tmp_path / "small.nir").stat().st_size
    assert found["takes"].startswith("pixel / 255")
    assert found["real_values"]["samples"] == 50
    assert [layer["name"] for layer in found["real_values"]["layers"]] == [name for name, _ in found["approximate"]]

    assert cli("lower", "small.nir", "--out", "again.bsp").code == 0
    assert (tmp_path / "again.bsp").read_bytes() == written["small"].read_bytes()
    assert cli("lower", "small.nir").code == 0
    assert (tmp_path / "small.bsp").read_bytes() == written["small"].read_bytes()

    here, there = (cli("evaluate", model, "--data", "digits", "--json") for model in ("small.nir", written["small"]))
    assert here.json["accuracy"] == there.json["accuracy"]

    done = cli("certify", "small.nir", "--samples", "4", "--no-c")
    assert done.code == 0
    assert "nothing was written, since only a .bsp holds a certificate" in done.out + done.err
    assert cli("certify", "small.nir", "--samples", "4", "--no-c", "--out", "certified.bsp").code == 0
    assert (tmp_path / "certified.bsp").is_file()

    assert cli("export", "nir", "small.nir", "other.h5").code == 0  # whatever it is called
    for number, model in enumerate(("other.h5", written["small"])):
        assert cli("export", "c", model, f"c{number}", "--name", "same").code == 0
    assert (tmp_path / "c0" / "same.c").read_bytes() == (tmp_path / "c1" / "same.c").read_bytes()


def test_events_go_into_a_nir_file_too(cli, written, event_root):
    need_module("nir")
    done = cli(
        "export", "nir", written["events"], "e.nir", "--data", "nmnist", "--data-root", event_root, "--samples", "6"
    )
    assert done.code == 0
    assert "the step's counts of events" in done.out
    assert "6 samples: " in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x.nir", "--dt", "0"), "dt is 0.0; it is the length of a time step"),
        (("x.bsp",), "x.bsp does not end like a NIR file: .nir, .h5, .hdf5"),
        (("x.nir", "--samples", "0"), "--samples is 0; give 1 or more"),
        (("there.nir",), "there.nir is there already; overwrite=True (--force) replaces it"),
        ((".",), "is a folder; give the file to write"),
    ],
)
def test_wrong_words_for_nir_are_refused(cli, written, tmp_path, words, message):
    need_module("nir")
    (tmp_path / "there.nir").write_text("mine")
    done = cli("export", "nir", written["small"], *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "x.nir").exists()
    assert (tmp_path / "there.nir").read_text() == "mine"


def test_a_nir_file_without_integers_says_what_to_do(cli, tmp_path):
    nir = need_module("nir")
    graph = nir.NIRGraph.from_list([nir.Input({"input": np.array([4])}), nir.Affine(np.ones((2, 4)), np.zeros(2))])
    nir.write(tmp_path / "foreign.nir", graph)
    done = cli("lower", "foreign.nir")
    assert done.code == 2
    assert "foreign.nir holds no network that could be run" in done.err
    assert "bitspike import makes a network of its real values" in done.err


@pytest.mark.parametrize("words", [("explore", "x.nir", "--out", "o"), ("significance", "x.nir")])
def test_commands_that_need_a_float_network_name_a_nir_file(cli, written, words):
    need_module("nir")
    assert cli("export", "nir", written["small"], "x.nir").code == 0
    done = cli(*words)
    assert done.code == 2
    assert "x.nir is a NIR file" in done.err
