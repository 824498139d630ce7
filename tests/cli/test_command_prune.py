"""`bitspike prune`: what goes, what is written, and that the result is used like any other network."""

import pytest

from bitspike.cli.opening import open_model
from bitspike.cli.train import standing
from bitspike.prune import prune_


def test_half_of_every_layer_goes(cli, trained, tmp_path):
    done = cli("prune", trained["small"], "--ratio", "0.5", "--batches", "2", "--batch", "20", "--out", "p.safetensors",
               "--json")  # fmt: skip
    assert done.code == 0
    found = done.json
    assert [(row["name"], row["before"], row["after"]) for row in found["layers"]] == [("conv1", 4, 2), ("conv2", 8, 4)]
    assert found["memory_after"] < found["memory_before"]
    assert found["bytes"] == (tmp_path / "p.safetensors").stat().st_size
    net, header, _ = open_model(tmp_path / "p.safetensors")
    assert net.conv2.weight.shape[:2] == (4, 2)
    assert header.pruned == net.pruned
    assert header.results["pruning"]["criterion"] == "svs"
    _, before, _ = open_model(trained["small"])
    assert header.results["before_pruning"]["test_accuracy"] == before.results["test_accuracy"]
    assert "test_accuracy" not in header.results  # nobody has measured it
    evaluated = cli("evaluate", "p.safetensors", "--json")
    assert evaluated.code == 0
    assert evaluated.json["stored_accuracy"] is None
    assert cli("lower", "p.safetensors", "--json").json["layers"][1]["shape"] == [4, 2, 3, 3]


def test_by_name_with_the_criterion_that_is_asked_for(cli, trained, tmp_path):
    done = cli("prune", trained["small"], "--ratio", "conv2=25%", "--criterion", "magnitude", "--out", "p.safetensors")
    assert done.code == 0
    assert "8" in done.out
    net, _, _ = open_model(tmp_path / "p.safetensors")
    same, _, _ = open_model(trained["small"])
    prune_(same, ratios={"conv2": 0.25}, criterion="magnitude")
    assert net.pruned == same.pruned
    assert list(same.pruned) == ["conv2"]


@pytest.mark.parametrize(
    ("option", "value", "key"), [("--parameters", "50%", "parameters"), ("--memory", "0.4kB", "memory")]
)
def test_down_to_a_budget(cli, trained, option, value, key):
    done = cli("prune", trained["small"], option, value, "--criterion", "random", "--out", "p.safetensors", "--json")
    assert done.code == 0
    limit = 400 if key == "memory" else 0.5 * done.json["parameters_before"]
    assert done.json[f"{key}_after"] <= limit < done.json[f"{key}_before"]


def test_in_multiples(cli, trained, tmp_path):
    done = cli("prune", trained["small"], "--ratio", "0.75", "--multiple-of", "4", "--criterion", "magnitude",
               "--out", "p.safetensors", "--json")  # fmt: skip
    assert [(row["before"], row["after"]) for row in done.json["layers"]] == [(4, 4), (8, 4)]
    refused = cli("prune", trained["small"], "--ratio", "0.75", "--multiple-of", "0", "--out", "q.safetensors")
    assert refused.code == 2
    assert "--multiple-of" in refused.err
    assert not (tmp_path / "q.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "nothing was given; give one of --ratio"),
        (("--ratio", "0.5", "--memory", "1kB"), "--ratio and --memory were given"),
        (("--ratio", "half"), "--ratio is 'half'; give a share such as 0.25 or 25%"),
        (("--ratio", "0.5", "--ratio", "conv1=0.1"), "'conv1' decides nothing"),
        (("--ratio", "0.5", "--ratio", "0.6"), "the same layers are named twice"),
        (("--memory", "1 pound"), "--memory is '1 pound'; give bytes"),
        (("--ratio", "conv7=0.5"), "'conv7' matches no spiking block"),
        (("--ratio", "conv1=0.9"), "would leave none of the 4 channels of conv1"),
        (("--ratio", "0.5", "--criterion", "svd"), "svd"),
        (("--ratio", "0.5", "--out", "p.bsp"), "ending with .safetensors"),
        (("--preset", "qpsnn-resnet20-smaller"), "are for the model resnet20"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(cli, trained, tmp_path, options, said):
    done = cli("prune", trained["small"], *options, *(() if "--out" in options else ("--out", "p.safetensors")))
    assert done.code == 2
    assert said in done.err.replace("\n", " ")
    assert not list(tmp_path.glob("p.*"))


def test_a_budget_can_take_all_but_one(cli, trained):
    tight = (
        "prune",
        trained["small"],
        "--parameters",
        "15%",
        "--criterion",
        "random",
        "--out",
        "p.safetensors",
        "--json",
    )
    assert cli(*tight, "--keep-at-least", "60%").code == 2
    done = cli(*tight, "--keep-at-least", "0")
    assert done.code == 0
    assert done.json["parameters_after"] <= 0.15 * done.json["parameters_before"]


def test_an_integer_network_is_refused(cli, written):
    done = cli("prune", written["small"], "--ratio", "0.5")
    assert done.code == 2
    assert "prune the model file that it was made from" in done.err.replace("\n", " ")


def test_a_recipe_with_pruning_tells_of_both_stages(cli, recipes):
    plan = (recipes["small"], "--set", "train.epochs=1", "--set", "prune.ratios=0.5", "--set", "prune.batch=64",
            "--set", "finetune.epochs=1", "--out", "run", "--device", "cpu")  # fmt: skip
    done = cli("train", *plan)
    assert "1 epoch, then pruned, 1 more" in done.err
    assert "before pruning" in done.out
    found = cli("train", *plan, "--json").json
    assert found["before_pruning"]["test_samples"] == found["test_samples"]
    assert found["pruning"]["parameters_after"] == found["parameters"] < found["pruning"]["parameters_before"]
    hint = cli("prune", "run", "--ratio", "0.5", "--criterion", "magnitude").out
    assert "train RECIPE --set start=run/model-pruned.safetensors --out FOLDER" in hint


def test_a_stopped_first_stage_is_known_to_go_on(tmp_path):
    (tmp_path / "trained").mkdir()
    assert standing(tmp_path, fresh=False).startswith("starts in")
    (tmp_path / "trained" / "state.safetensors").touch()
    assert standing(tmp_path, fresh=False).startswith("goes on in")


def test_epochs_of_a_training_that_is_left_out_are_refused(cli, tmp_path):
    file = tmp_path / "further.toml"
    file.write_text(
        'quant = "1w2u"\nstart = "somewhere"\n[model]\nname = "small8"\n[data]\nname = "digits"\n'
        "[train]\nepochs = 3\n[prune]\nratios = {conv2 = 0.5}\n[finetune]\nepochs = 2\n"
    )
    done = cli("train", str(file), "--epochs", "1")
    assert done.code == 2
    assert "give --set finetune.epochs=1" in done.err
