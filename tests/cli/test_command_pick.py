"""`bitspike pick`: one candidate, made again, tested once, certified, saved."""

import json
import shutil

import pytest

from bitspike.explore.explore import read_table


@pytest.fixture
def folder(explored, tmp_path):
    shutil.copytree(explored, tmp_path / "run")
    return tmp_path / "run"


def test_the_smallest_within_a_bound(cli, folder):
    found = read_table(folder)
    wanted = found.smallest(0.9)
    looked = cli("pick", folder, "--within", "90%", "--smallest", "--dry-run", "--json")
    assert (looked.code, looked.json["picked"], looked.json["number"]) == (0, False, wanted.number)
    assert not (folder / "picked.json").exists()
    done = cli("pick", folder, "--within", "0.9", "--smallest", "--samples", "20", "--json")
    assert done.code == 0
    told = done.json
    assert told["number"] == wanted.number
    assert told["reproduced"]
    assert told["tested_before"] == []
    assert told["memory"] == wanted.memory
    assert told["test_samples"] == 355
    for file in (told["file"], told["integers"]):
        again = cli("evaluate", file, "--json")
        assert (again.code, again.json["accuracy"]) == (0, told["test_accuracy"])
    assert cli("evaluate", told["integers"], "--json").json["certified"]
    assert f"picked, number {wanted.number}" in (folder / "exploration.html").read_text()


def test_by_reward_and_by_number(cli, folder):
    found = read_table(folder)
    for words, row in (
        (("--reward", "product"), found.best("product")),
        (("--reward", "additive", "--mu", "0"), found.best("additive", 0.0)),
        (("--number", "2"), found.row(2)),
    ):
        assert cli("pick", folder, *words, "--dry-run", "--json").json["number"] == row.number


def test_the_second_look_at_the_test_split_is_said(cli, folder):
    first = cli("pick", folder, "--number", "0", "--samples", "10", "--seeds", "2")
    assert first.code == 0
    assert "mean of 2 seeds" in first.out
    assert "looked at before" not in first.out
    assert "float network" in first.out
    assert "looked at before" not in cli("pick", folder, "--number", "0", "--samples", "10", "--quiet").out
    second = cli("pick", folder, "--number", "3", "--samples", "10", "--quiet")
    assert "the test split was looked at before, for candidate 0" in second.out
    assert [item["number"] for item in json.loads((folder / "picked.json").read_text())] == [0, 3]
    assert cli("pick", folder, "--number", "1", "--samples", "10", "--json").json["tested_before"] == [0, 3]


def test_a_table_that_was_tampered_with_fails(cli, folder):
    file = folder / "exploration.json"
    table = json.loads(file.read_text())
    table["rows"][1]["accuracy"] += 0.01
    file.write_text(json.dumps(table))
    done = cli("pick", folder, "--number", "1", "--samples", "10")
    assert done.code == 1
    assert "NOT reproduced" in done.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "say which candidate to take: --within 1% --smallest"),
        (("--smallest",), "--smallest alone does not say which"),
        (("--within", "1%", "--number", "2"), "--within and --number were given"),
        (("--smallest", "--number", "2"), "--smallest goes with --within"),
        (("--margin", "1%", "--number", "2"), "--margin goes with --within"),
        (("--within", "1%", "--margin", "wide"), "--margin is 'wide'"),
        (("--within", "one"), "--within is 'one'"),
        (("--within", "100%"), "--within is '100%'"),
        (("--number", "99"), "there are 0 to 3"),
        (("--number", "1", "--mu", "1"), "--mu belongs to --reward additive"),
        (("--reward", "additive", "--mu", "-1"), "mu is -1.0"),
        (("--reward", "best"), "Choose from"),
        (("--number", "1", "--seeds", "0"), "--seeds is 0"),
        (("--number", "1", "--samples", "0"), "--samples is 0"),
        (("--number", "1", "--out", "x.bsp"), "ends with .safetensors"),
    ],
)
def test_refusals(cli, explored, options, said):
    done = cli("pick", explored, *options)
    assert done.code == 2
    assert said in done.err
    as_json = cli("pick", explored, *options, "--json")
    assert said in as_json.json["error"]


def test_folders_without_an_exploration(cli, folder, tmp_path):
    assert "nothing holds no exploration" in cli("pick", "nothing", "--number", "1").err
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "exploration.json").touch()
    assert "ours holds an exploration that was begun in Python" in cli("pick", "ours", "--number", "1").err
    (folder / "exploration.json").write_text("{}")
    done = cli("pick", folder, "--number", "1")
    assert done.code == 2
    assert "exploration.json cannot be read" in done.err
    (folder / "exploration.json").unlink()
    assert "no table of an exploration" in cli("pick", folder, "--number", "1").err


def test_a_bound_that_nobody_meets_names_the_nearest(cli, folder):
    file = folder / "exploration.json"
    table = json.loads(file.read_text())
    table["baseline"]["accuracy"] = 1.0
    file.write_text(json.dumps(table))
    done = cli("pick", folder, "--within", "1%", "--smallest")
    assert done.code == 2
    assert "the nearest is number" in done.err
