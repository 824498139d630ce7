"""`bitspike export`."""

import subprocess

import pytest

from needed_tools import need_tool


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
