"""`train`, `evaluate` and `measure` of an unsupervised network, and what other commands say to its file."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from bitspike.stdp import load
from bitspike.stdp.picture import receptive_fields, write_png
from bitspike.stdp.recipe import StdpRecipe, list_stdp_recipes, read_table

RECIPE = """
[stdp]
data = "digits"
validation = 200
[network]
inputs = 64
norm = 6.4
neurons = 20
steps = 60
intensity = 400.0
[bits]
weight = 4
"""


@pytest.fixture(scope="module")
def stdp_recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def run(run_command, stdp_recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "tiny"
    done = run_command("train", stdp_recipe, "--out", folder, "--json")
    assert done.code == 0, done.err
    return folder, done


def test_training(run, cli, stdp_recipe):
    folder, done = run
    found = done.json
    assert found["test_accuracy"] > 0.4
    assert found["validation"]["proportion"] > 0.4
    assert found["memory_ratio"] > 6
    assert found["images_per_second"] > 0
    assert "images/s" in done.err
    assert (folder / "receptive-fields.png").read_bytes().startswith(b"\x89PNG")
    again = cli("train", stdp_recipe, "--out", folder)
    assert again.code == 0
    assert "proportion weighting" in again.out
    other = cli("train", stdp_recipe, "--out", folder, "--epochs", 2, "--json")
    assert other.code == 2
    assert "recipe.passes was 1 and is now 2" in other.json["error"]


def test_settings(cli, stdp_recipe):
    words = ("--set", "network.neurons=5", "--set", "bits.rounding=nearest", "--seed", 3, "--json", "-q")
    found = cli("train", stdp_recipe, *words).json
    assert found["config"]["neurons"] == 5
    assert found["config"]["bits"]["rounding"] == "nearest"
    assert found["config"]["seed"] == 3
    assert found["model_file"] == "runs/tiny-seed3/model.bsp"
    bad = cli("train", stdp_recipe, "--set", "bits.weight=40", "--json")
    assert bad.code == 2
    assert "bits.weight is 40; give 1 to 16" in bad.json["error"]
    bad = cli("train", stdp_recipe, "--set", "neurons=40", "--json")
    assert "TABLE.NAME=VALUE" in bad.json["error"]


def test_evaluation(run, cli):
    folder, done = run
    for given in (folder, folder / "model.bsp"):
        found = cli("evaluate", given, "--confusion", "--json").json
        assert found["accuracy"] == done.json["test_accuracy"]
        assert found["reproduced"] is True
        assert np.shape(found["confusion"]) == (10, 11)
    shown = cli("evaluate", folder, "--confusion").out
    assert "the same as the file says" in shown
    assert "spikes an image" in shown
    assert cli("evaluate", folder, "--limit", 20, "--json").json["samples"] == 20
    assert cli("evaluate", folder, "--samples", 20, "--json").json["samples"] == 20
    wrong = cli("evaluate", folder, "--data", "nowhere", "--json")
    assert wrong.code == 2


def test_measuring(run, cli):
    folder, _ = run
    found = cli("measure", folder / "model.bsp", "--data", "digits", "--samples", 50, "--json").json
    assert found["totals"]["memory"]["weights"] == 64 * 20 * 4 // 8
    assert found["samples"] == 50
    assert found["totals"]["operations"]["synaptic"] > 0
    assert "a device that learns" in cli("measure", folder).out


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("measure", ("--spec", "4w4u"), "leave out --spec"),
        ("measure", ("--set", "classes=3", "--compare", "other.bsp"), "leave out --set, --compare"),
        ("measure", ("--batch", "3", "--plot", "levels.png"), "leave out --batch, --plot"),
        ("measure", ("--device", "cuda"), '--device is "cuda", but unsupervised networks run on the CPU'),
        ("evaluate", ("--order", "steps", "--batch", "3"), "leave out --order, --batch"),
        ("evaluate", ("--device", "cuda"), '--device is "cuda"'),
        ("train", ("--device", "cuda"), '--device is "cuda"'),
    ],
)
def test_options_without_a_use_are_refused(run, cli, stdp_recipe, command, options, said):
    folder, _ = run
    done = cli(command, *((stdp_recipe, "--out", folder) if command == "train" else (folder,)), *options, "--json")
    assert done.code == 2
    assert said in done.json["error"]


@pytest.mark.parametrize("command", [("certify",), ("lower",), ("prune",)])
def test_other_commands_name_it(run, cli, command):
    folder, _ = run
    done = cli(*command, folder / "model.bsp", "--json")
    assert done.code == 2
    assert "STDP network" in done.json["error"]


def test_export(run, cli, tmp_path):
    folder, _ = run
    found = cli("export", "c", folder, tmp_path / "made", "--data", "digits", "--json").json
    assert found["learning_bytes"] > found["responding_bytes"]
    assert "int main" in (tmp_path / "made" / "stdp_selftest.c").read_text()
    shown = cli("export", "c", folder / "model.bsp", tmp_path / "made", "--force").out
    assert "stdp_present" in shown
    named = cli("export", "c", folder, tmp_path / "named", "--name", "mine")
    assert named.code == 2
    assert "--name is mine; the C of an unsupervised network has names of its own" in named.err
    assert not (tmp_path / "named").exists()


def test_a_run_under_way_is_named(run, cli, tmp_path):
    from bitspike.stdp.file import save_state

    folder, _ = run
    save_state(tmp_path / "half" / "state.bsp", load(folder / "model.bsp"), {}, {})
    done = cli("evaluate", tmp_path / "half", "--json")
    assert done.code == 2
    assert "not finished" in done.json["error"]


def test_recipes(cli):
    found = {item["name"]: item for item in cli("train", "--list", "--json").json["stdp_recipes"]}
    assert set(found) == set(list_stdp_recipes())
    assert found["stdp-mnist"]["bits"] == 4
    assert "stdp-mnist-float" in cli("train", "--list").out
    for path in list_stdp_recipes().values():
        StdpRecipe.from_table(read_table(path))


def test_the_picture_is_what_the_weights_are(run, tmp_path):
    folder, _ = run
    network = load(folder / "model.bsp")
    picture = receptive_fields(network)
    assert picture.shape == (4 * 9 - 1, 5 * 9 - 1)
    strongest = network.state.weights[:, 6].reshape(8, 8).astype(float)
    np.testing.assert_array_equal(picture[9:17, 9:17], np.round(255 * strongest / strongest.max()))
    with pytest.raises(ValueError, match="an image of 3x3 has 9 pixels; the network has 64 inputs"):
        receptive_fields(network, (3, 3))
    write_png(tmp_path / "a.png", picture)
    data = (tmp_path / "a.png").read_bytes()
    assert struct.unpack(">II", data[16:24]) == (44, 35)
    start = data.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(data[start:-16]), np.uint8).reshape(35, 45)
    np.testing.assert_array_equal(rows[:, 1:], picture)


def test_exploring_and_picking(cli, run_command, stdp_recipe, tmp_path):
    text = stdp_recipe.read_text()
    (tmp_path / "float.toml").write_text(text[: text.index("[bits]")])
    assert run_command("train", tmp_path / "float.toml", "--out", tmp_path / "float").code == 0
    folder = tmp_path / "explored"
    words = ("--try", "bits.weight=3,6", "--try", "scheme=ptq,itq-scratch", "--train", "label_images=400")
    done = cli("explore", tmp_path / "float", *words, "--out", folder, "--json")
    assert done.code == 0, done.err
    rows = done.json["rows"]
    assert [row["bits"]["weight"] for row in rows] == [3, 3, 6, 6]
    assert [row["choices"]["scheme"] for row in rows] == ["ptq", "itq-scratch"] * 2
    assert cli("explore", "--resume", folder, "--json").json["rows"] == rows
    assert "bits.weight" in (folder / "exploration.html").read_text()
    picked = cli("pick", folder, "--number", "1", "--samples", "5", "--json")
    assert picked.code == 0, picked.err
    assert picked.json["reproduced"]
    assert picked.json["file"] == picked.json["integers"] == str(folder / "picked.bsp")
    network = load(folder / "picked.bsp")
    assert network.config.bits.weight == 3
    assert network.about["exploration"] == {"number": 1, "choices": {"bits.weight": 3, "scheme": "itq-scratch"}}
    assert network.about["certificate"]["samples"] == 5
    again = cli("evaluate", folder / "picked.bsp", "--data", "digits", "--json")
    assert (again.code, again.json["accuracy"]) == (0, picked.json["test_accuracy"])
    assert again.json["reproduced"] is True
    wrong = cli("pick", folder, "--number", "1", "--out", tmp_path / "x.safetensors", "--json")
    assert wrong.code == 2
    assert "ends with .bsp" in wrong.json["error"]
    assert cli("export", "c", folder / "picked.bsp", tmp_path / "c").code == 0


def test_what_cannot_be_explored(cli, run, tmp_path):
    folder, _ = run
    done = cli("explore", folder, "--out", tmp_path / "x", "--json")
    assert done.code == 2
    assert "weights of 4 bits already" in done.json["error"]
    done = cli("significance", folder / "model.bsp", "--out", tmp_path / "y", "--json")
    assert done.code == 2
    assert "--sampler one-at-a-time" in done.json["error"]
    models = Path(__file__).parents[2] / "models"
    done = cli("explore", models / "qsnn-digits-1w2u.bsp", "--data", "digits", "--out", tmp_path / "z", "--json")
    assert done.code == 2
    assert "qsnn-digits-1w2u.bsp" in done.json["error"]


def test_a_try_that_was_refused_leaves_its_model_there(cli, run_command, stdp_recipe, tmp_path):
    text = stdp_recipe.read_text()
    (tmp_path / "float.toml").write_text(text[: text.index("[bits]")])
    assert run_command("train", tmp_path / "float.toml", "--out", tmp_path / "float").code == 0
    odd = tmp_path / "net.unsupervised"  # a file is what it says it is, whatever its name
    (tmp_path / "float" / "model.bsp").replace(odd)
    folder = tmp_path / "x"
    assert cli("explore", odd, "--early-stop", "--out", folder, "--json").code == 2
    wrong = cli("explore", odd, "--train", "validation=10", "--out", folder, "--json")
    assert (wrong.code, "passes=N or label_images=N" in wrong.json["error"]) == (2, True)
    done = cli("explore", folder / "start.bsp", "--try", "bits.weight=4", "--out", folder, "--json")
    assert (done.code, len(done.json["rows"])) == (0, 1)
    assert (folder / "start.bsp").read_bytes() == odd.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--form", "float"), "--form is float, but an unsupervised network has the form it learned in"),
        (("--device", "cuda"), '--device is "cuda", but unsupervised networks run on the CPU'),
    ],
)
def test_evaluate_refuses_what_it_cannot_do(run, cli, words, said):
    done = cli("evaluate", run[0], *words, "--json")
    assert done.code == 2
    assert said in done.json["error"]


def test_commands_of_other_networks_name_what_the_folder_holds(run, cli):
    done = cli("lower", run[0], "--json")
    assert done.code == 2
    assert "model.bsp" in done.json["error"]
    assert "STDP network" in done.json["error"]
