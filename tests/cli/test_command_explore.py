"""`bitspike explore`: the table, going on, and what is refused."""

import contextlib
import json
import shutil
import sys

import pytest

from bitspike.cli.explored import Begun
from bitspike.explore.explore import read_table
from bitspike.explore.storage import kept

ONE = ("--base", "8w8u", "--try", "weight.bits=4")


@pytest.fixture
def copy(explored, tmp_path):
    shutil.copytree(explored, tmp_path / "run")
    return tmp_path / "run"


def table(folder):
    """Without what depends on the clock."""
    plain = read_table(folder).to_dict()
    return {**plain, "rows": [{key: value for key, value in row.items() if key != "seconds"} for row in plain["rows"]]}


def test_the_folder_holds_table_picture_and_page(explored):
    found = read_table(explored)
    assert [tuple(row.choices.values()) for row in found.finished] == [(1, 2), (1, 4), (4, 2), (4, 4)]
    assert found.baseline.memory > 4 * max(row.memory for row in found.finished)
    text = (explored / "exploration.html").read_text()
    assert all(f"<td>{row.number}</td>" in text for row in found.rows)


def test_json_is_one_object_and_resuming_changes_nothing(cli, copy):
    before = table(copy)
    done = cli("explore", "--resume", copy, "--json")
    assert done.code == 0
    assert [row["number"] for row in done.json["rows"]] == [0, 1, 2, 3]
    assert done.json["page"] == str(copy / "exploration.html")
    assert table(copy) == before


def test_the_same_command_goes_on_and_another_is_refused(cli, copy, trained):
    same = ("explore", trained["float"], "--base", "8w8u", "--try", "weight.bits=1,4", "--try", "membrane.bits=2,4")
    done = cli(*same, "--out", copy)
    assert done.code == 0
    for told in ("float network", "4 candidates", "exploration.html", "pick"):
        assert told in done.out
    other = cli(*same[:-1], "membrane.bits=2,3", "--out", copy)
    assert other.code == 2
    assert "begun with another space; go on with --resume" in other.err


def test_another_model_is_refused(cli, copy, trained):
    assert "not both" in cli("explore", trained["small"], "--resume", copy).err
    same = ("--base", "8w8u", "--try", "weight.bits=1,4", "--try", "membrane.bits=2,4", "--out", copy)
    done = cli("explore", trained["small"], *same)
    assert done.code == 2
    assert "holds an exploration of another model" in done.err


def test_a_start_that_was_exchanged_is_refused(cli, copy, trained):
    shutil.copyfile(trained["small"], copy / "start.safetensors")
    done = cli("explore", "--resume", copy)
    assert done.code == 2
    assert "another exploration: it differs in network, quant" in done.err


def test_options_beside_resume_are_refused(cli, copy):
    done = cli("explore", "--resume", copy, "--seed", "3", "--try", "weight.bits=2")
    assert done.code == 2
    assert "leave out --try, --seed" in done.err


def test_a_database_its_name_and_haste_are_remembered(cli, trained, tmp_path):
    given = ("--storage", "sqlite:///s.db", "--name", "mine", "--asynchronous")
    assert cli("explore", trained["float"], *ONE, *given, "--out", "run", "--quiet").code == 0
    before = table(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "deep" / "run")
    with contextlib.chdir(tmp_path / "deep"):  # the file of SQLite is told from the root
        done = cli("explore", "--resume", "run", "--json")
    assert done.code == 0, done.err
    assert table(tmp_path / "deep" / "run") == before
    assert not (tmp_path / "run" / "study.journal").exists()
    assert not (tmp_path / "deep" / "s.db").exists()
    other = cli("explore", "--resume", "run", "--storage", "sqlite:///other.db")
    assert other.code == 2
    assert "--storage is sqlite:///other.db, but the exploration was begun in sqlite:////" in other.err
    assert cli("explore", "--resume", "run", "--storage", "sqlite:///s.db").code == 0
    assert cli("pick", "run", "--number", "0", "--samples", "5").code == 0


def test_a_database_holds_many_explorations(cli, trained):
    same = ("explore", trained["float"], "--storage", "sqlite:///s.db", "--base", "8w8u")
    assert cli(*same, "--try", "weight.bits=4", "--out", "one", "--quiet").code == 0
    refused = cli(*same, "--try", "weight.bits=5", "--out", "two", "--quiet")
    assert "choose another folder or name" in refused.err
    assert cli(*same, "--try", "weight.bits=5", "--out", "two", "--name", "two", "--quiet").code == 0


def test_passwords_are_not_kept(tmp_path):
    for url in ("postgresql://me:secret@host/db", "postgresql://host/db?user=me&password=secret"):
        begun = Begun("digits", {}, ["accuracy"], storage=kept(url))
        assert "secret" not in begun.storage
        assert begun.database(url) == url
        with pytest.raises(ValueError, match="whose password is not kept; give it with --storage"):
            begun.database(None)
        with pytest.raises(ValueError, match="was begun in its folder, without a database") as caught:
            Begun("digits", {}, ["accuracy"]).database(url)
        assert "secret" not in str(caught.value)


def test_who_joins_is_told_of_no_page(cli, trained, tmp_path):
    same = ("explore", trained["float"], *ONE, "--storage", "sqlite:///s.db")
    assert cli(*same, "--out", "first", "--quiet").code == 0
    done = cli(*same, "--join", "--out", "second")
    assert done.code == 0
    assert "joining 'exploration' in sqlite:///s.db" in done.err
    assert "1 candidate\n" in done.out
    assert "pick" not in done.out + done.err
    assert not (tmp_path / "second" / "exploration.html").exists()
    assert cli(*same, "--join", "--out", "second", "--json").json["page"] is None


def test_trials_are_of_a_sampler_also_in_a_small_space_and_may_grow_beyond_it(cli, trained, tmp_path):
    words = ("--base", "8w8u", "--try", "weight.bits=2,3,4", "--trials", "2", "--out", "run", "--json")
    few = cli("explore", trained["float"], *words).json
    assert (len(few["rows"]), few["identity"]["sampler"]) == (2, "nsga2")
    more = cli("explore", "--resume", "run", "--trials", "9", "--json").json
    assert more["rows"][:2] == few["rows"]
    assert len(more["rows"]) == 3


def test_a_folder_of_before_trials_had_a_say_goes_on(cli, copy):
    plain = json.loads((copy / "begun.json").read_text())
    old = {name: value for name, value in plain.items() if name not in ("storage", "name", "asynchronous")}
    (copy / "begun.json").write_text(json.dumps(old | {"sampler": "auto", "trials": 2}))
    done = cli("explore", "--resume", copy, "--json")
    assert done.code == 0, done.err
    assert len(done.json["rows"]) == 4


def test_values_are_read_as_in_recipes(cli, trained):
    done = cli("explore", trained["float"], *ONE, "--try", "membrane.strict=true,false", "--out", "run", "--json")
    assert done.code == 0, done.err
    assert [row["choices"]["membrane.strict"] for row in done.json["rows"]] == [True, False]


def test_a_first_try_that_was_refused_may_be_mended(cli, trained, tmp_path):
    wrong = cli("explore", trained["float"], "--try", "weight.bits=4", "--out", "run")
    assert wrong.code == 2
    assert "32 bits" in wrong.err
    assert "such as 8w8u" in wrong.err
    assert cli("explore", trained["float"], *ONE, "--out", "run", "--quiet").code == 0


def test_a_quantized_start_is_said(cli, trained):
    done = cli("explore", trained["small"], *ONE, "--out", "run")
    assert done.code == 0
    assert "is quantized already" in done.err
    assert "network as given" in done.out
    assert "1 candidate\n" in done.out


def test_candidates_that_train(cli, trained):
    done = cli(
        "explore", trained["float"], *ONE, "--try", "scheme=itq", "--train", "epochs=1", "--out", "run", "--json"
    )
    assert done.code == 0
    assert done.json["identity"]["train"]["train"]["epochs"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--try", "weight.bitz=2"), "'weight.bitz' is no dimension"),
        (("--try", "weight.bits="), "give NAME=VALUE,VALUE"),
        (("--try", "weight.bits=2,2"), "each may stand there once"),
        (("--try", "scheme=qat"), "allowed: ptq, itq, itq-scratch"),
        (("--try", "base=4w4u"), "given with --base"),
        (("--base", "9w9u", "--try", "weight.bits=2"), "weight.bits is 9"),
        (("--objectives", "accuracy,size"), "the objectives are accuracy, size"),
        (("--sampler", "grid"), "sampler is 'grid'"),
        (("--calibration", "4"), "--calibration is '4'"),
        (("--workers", "0"), "--workers is 0"),
        (("--trials", "0"), "--trials is 0"),
        (("--on", "cloud"), "on is 'cloud'"),
        (("--space", "nothing.toml"), "nothing.toml"),
        (("--train", "epoch=3"), "epoch"),
    ],
)
def test_refusals(cli, trained, options, said):
    done = cli("explore", trained["float"], *options, "--out", "run")
    assert done.code == 2
    assert said in done.err
    (_,) = [line for line in done.err.splitlines() if line.startswith("bitspike: ")]


def test_more_refusals(cli, trained, tmp_path):
    assert "give a model to explore, or a folder" in cli("explore").err
    assert "nothing holds no exploration" in cli("explore", "--resume", "nothing").err
    assert "nothing holds no exploration" in cli("explore", "--dashboard", "nothing").err
    (tmp_path / "space.toml").write_text("weight.bits = [2")
    assert "not a valid TOML file" in cli("explore", trained["float"], "--space", "space.toml").err
    (tmp_path / "begun.json").write_text("{}")
    assert "begun.json cannot be read" in cli("explore", "--resume", tmp_path).err


def test_without_optuna_the_extra_is_named(cli, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = cli("explore", trained["float"], *ONE, "--out", "run", "--json")
    assert done.code == 1
    assert "pip install 'bitspike[explore]'" in done.json["error"]


def test_without_matplotlib_there_is_the_page(cli, copy, monkeypatch):
    (copy / "front.png").unlink(missing_ok=True)
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    done = cli("explore", "--resume", copy)
    assert done.code == 0
    assert "pip install 'bitspike[report]'" in done.out
    assert json.loads(cli("explore", "--resume", copy, "--json").out)["picture"] is None
    assert not (copy / "front.png").exists()
