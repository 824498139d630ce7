"""Recipes of more than one stage: what is pruned, what goes on, what is written down."""

import pytest
import torch
from train_samples import make_images

from bitspike.lowering import lower
from bitspike.runtime import evaluate_integers
from bitspike.train.config import Recipe
from bitspike.train.from_recipe import build_net
from bitspike.train.interrupt import TrainingStopped
from bitspike.train.model_file import load_model, read_header
from bitspike.train.run import train
from bitspike.train.stages import train_in_stages

PRUNE = {"ratios": {"conv2": 0.5}, "batches": 2, "batch": 16}


@pytest.fixture
def pruning(table):
    table["train"] |= {"epochs": 2}
    return table | {"prune": PRUNE, "finetune": {"epochs": 1, "optimizer": "adam", "lr": 1e-3}}


def fit(table, data, **options):
    recipe = Recipe.from_dict(table)
    return train_in_stages(
        recipe, lambda part: build_net(part, data), data, show_progress=False, device="cpu", **options
    )


def test_trains_prunes_and_fine_tunes(pruning, images, tmp_path):
    test = make_images(30, seed=5, split="test")
    result = fit(pruning, images, test=test, out=tmp_path)
    assert result.net.conv1.weight.shape[0] == 4
    assert result.net.conv2.weight.shape[0] == 4  # of 8
    assert result.net.readout.weight.shape == (3, 4 * 2 * 2)
    assert [record["epoch"] for record in result.results["history"]] == [0]
    before = read_header(tmp_path / "trained" / "model.safetensors")
    assert [record["epoch"] for record in before.results["history"]] == [0, 1]
    assert result.results["before_pruning"]["test_accuracy"] == before.results["test_accuracy"]
    assert result.results["pruning"]["layers"][1] == {"name": "conv2", "before": 8, "after": 4, "ratio": 0.5}
    assert result.results["pruning"]["criterion"] == "svs"
    assert result.seconds == pytest.approx(result.header.provenance["seconds"] + before.provenance["seconds"])
    assert result.results["pruning"]["parameters_after"] < result.results["pruning"]["parameters_before"]
    assert result.header.provenance["origin"] == before.provenance
    assert Recipe.from_dict(result.header.recipe) == Recipe.from_dict(pruning)
    loaded, header = load_model(tmp_path / "model.safetensors")
    assert header == result.header
    assert header.pruned == {"conv2": loaded.pruned["conv2"]}
    assert evaluate_integers(lower(loaded), test).accuracy == result.results["test_accuracy"]


def test_goes_on_in_every_stage_as_if_it_had_not_stopped(pruning, images, tmp_path):
    whole = fit(pruning, images, out=tmp_path / "whole")

    def stop(epoch):
        if epoch["epoch"] == stop.at:
            stop.at = -1
            raise TrainingStopped("test", 2)

    for stop.at in (1, 0):  # in the last epoch of the first stage; then after the only one of the second
        with pytest.raises(TrainingStopped):
            fit(pruning, images, out=tmp_path / "stopped", save_every=0.0, on_epoch=stop)
    found = fit(pruning, images, out=tmp_path / "stopped")
    weights = zip(whole.net.state_dict().values(), found.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    again = fit(pruning, images, out=tmp_path / "stopped")
    assert again.resumed
    assert again.header == found.header


def test_the_channels_that_went_are_not_scored_again(pruning, images, tmp_path, monkeypatch):
    """Scores of another machine may differ in the last bits; what the run wrote down decides."""
    whole = fit(pruning | {"finetune": {"epochs": 2}}, images)

    def stop(_epoch):
        if (tmp_path / "trained" / "model.safetensors").is_file():
            raise TrainingStopped("test", 2)

    with pytest.raises(TrainingStopped):
        fit(pruning | {"finetune": {"epochs": 2}}, images, out=tmp_path, save_every=0.0, on_epoch=stop)
    monkeypatch.setattr("bitspike.prune.pruning.channel_scores", None)
    found = fit(pruning | {"finetune": {"epochs": 2}}, images, out=tmp_path)
    weights = zip(whole.net.state_dict().values(), found.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert found.results["pruning"] == whole.results["pruning"]
    assert fit(pruning | {"finetune": {"epochs": 2}}, images, out=tmp_path).header == found.header


def test_channels_stay_in_multiples(pruning, images):
    prune = {"ratios": 0.75, "criterion": "magnitude", "multiple_of": 3}
    layers = fit(pruning | {"prune": prune}, images).results["pruning"]["layers"]
    assert all(layer["after"] in (3, layer["before"]) for layer in layers)
    assert any(layer["after"] == 3 for layer in layers)
    with pytest.raises(ValueError, match="in multiples of 4096 no layer would lose a channel"):
        fit(pruning | {"prune": prune | {"multiple_of": 4096}}, images)


def test_prunes_a_pruned_network_and_goes_on(pruning, images, tmp_path):
    fit(pruning, images, out=tmp_path / "first")
    again = pruning | {"start": str(tmp_path / "first"), "prune": PRUNE | {"ratios": 0.5}}
    found = fit(again, images, out=tmp_path / "second")
    assert found.net.conv2.weight.shape[0] == 2
    assert fit(again, images, out=tmp_path / "second").header == found.header


def test_the_folder_of_another_run_is_refused_before_anything_is_trained(pruning, table, images, tmp_path):
    recipe = Recipe.from_dict(table | {"train": {"epochs": 1, "batch": 16}})
    train(build_net(recipe, images), images, recipe, out=tmp_path, show_progress=False, device="cpu")
    with pytest.raises(ValueError, match="holds another run"):
        fit(pruning, images, out=tmp_path)
    assert not (tmp_path / "trained").exists()


def test_a_new_beginning_does_not_leave_the_old_end(pruning, images, tmp_path):
    fit(pruning, images, out=tmp_path)

    def stop(_epoch):
        raise TrainingStopped("test", 2)

    with pytest.raises(TrainingStopped):
        fit(pruning, images, out=tmp_path, resume=False, on_epoch=stop)
    assert not (tmp_path / "model.safetensors").exists()


def test_a_start_that_was_made_otherwise_is_refused(table, images, tmp_path):
    recipe = Recipe.from_dict(table)
    train(build_net(recipe, images), images, recipe, out=tmp_path / "first", show_progress=False, device="cpu")
    other = table | {"start": str(tmp_path / "first"), "model": {"name": "small8", "options": {"widths": [8, 8]}}}
    with pytest.raises(ValueError, match=r"was made with widths = \[4, 8\], but model\.options\.widths is \[8, 8\]"):
        fit(other, images, out=tmp_path / "second")


def test_prunes_a_network_that_is_there(pruning, table, images, tmp_path):
    plain = {key: value for key, value in table.items() if key not in ("prune", "finetune")}
    recipe = Recipe.from_dict(plain)
    train(build_net(recipe, images), images, recipe, out=tmp_path / "first", show_progress=False, device="cpu")
    result = fit(pruning | {"start": str(tmp_path / "first")}, images, out=tmp_path / "second")
    at_once = fit(pruning, images, out=tmp_path / "at once")
    assert not (tmp_path / "second" / "trained").exists()
    same = zip(result.net.state_dict().values(), at_once.net.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)


def test_quantizes_after_pruning(pruning, images, tmp_path):
    result = fit(pruning | {"prune": PRUNE | {"quantize": "after"}}, images, out=tmp_path)
    assert read_header(tmp_path / "trained" / "model.safetensors").quant["weight"]["bits"] == 32
    assert result.header.quant["weight"]["bits"] == 1
    assert lower(result.net).graph is not None


def test_goes_on_with_other_bits(table, images, tmp_path):
    recipe = Recipe.from_dict(table)
    train(build_net(recipe, images), images, recipe, out=tmp_path / "first", show_progress=False, device="cpu")
    result = fit(table | {"start": str(tmp_path / "first"), "quant": "1w4u"}, images, out=tmp_path / "second")
    assert result.net.conv2.membrane_spec.bits == 4
    first, _ = load_model(tmp_path / "first" / "model.safetensors")
    fresh = train(build_net(recipe, images), images, recipe, show_progress=False, device="cpu")
    assert torch.equal(first.conv1.weight, fresh.net.conv1.weight)
    assert not torch.equal(result.net.conv1.weight, first.conv1.weight)
    identity = result.header.provenance["identity"]
    assert len(identity["origin"]["weights"]) == 64
    # The same network at another place is the same start, another one at the same place is not.
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    again = fit(table | {"start": str(moved), "quant": "1w4u"}, images, out=tmp_path / "second")
    assert again.resumed
    other = Recipe.from_dict(table | {"train": table["train"] | {"seed": 1}})
    train(build_net(other, images), images, other, out=tmp_path / "first", show_progress=False, device="cpu")
    with pytest.raises(ValueError, match=r"holds another run: origin\.weights was"):
        fit(table | {"start": str(tmp_path / "first"), "quant": "1w4u"}, images, out=tmp_path / "second")


def test_bad_recipes_are_refused(pruning, table, images, tmp_path):
    with pytest.raises(ValueError, match=r"has the table \[prune\], but not \[finetune\]"):
        Recipe.from_dict({key: value for key, value in pruning.items() if key != "finetune"})
    with pytest.raises(ValueError, match=r"has the table \[finetune\], but not \[prune\]"):
        Recipe.from_dict({key: value for key, value in pruning.items() if key != "prune"})
    with pytest.raises(ValueError, match=r"recipe: prune: pruning takes either ratios"):
        Recipe.from_dict(pruning | {"prune": {"criterion": "svs"}})
    with pytest.raises(ValueError, match=r"recipe: finetune\.epoch is not a setting"):
        Recipe.from_dict(pruning | {"finetune": {"epoch": 1}})
    with pytest.raises(FileNotFoundError, match=r"start: there is no model file .*nowhere"):
        fit(pruning | {"start": str(tmp_path / "nowhere")}, images)
    with pytest.raises(ValueError, match=r"ratios: 'conv9' matches no spiking block"):
        fit(pruning | {"prune": {"ratios": {"conv9": 0.5}}}, images)
    with pytest.raises(ValueError, match="would leave none of the 8 channels of conv2"):
        fit(pruning | {"prune": {"ratios": {"conv2": 0.99}}}, images, out=tmp_path / "kept")
    with pytest.raises(ValueError, match="svd"):
        fit(pruning | {"prune": PRUNE | {"criterion": "svd"}}, images, out=tmp_path / "kept")
    with pytest.raises(ValueError, match="the target of 10 cannot be met"):
        fit(pruning | {"prune": {"target": {"memory": 10}}}, images, out=tmp_path / "kept")
    with pytest.raises(ValueError, match="has 72 samples, but 5 batches of 128 need 640"):
        fit(pruning | {"prune": {"ratios": 0.5}}, images, out=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()  # nothing was trained for a pruning that cannot be


def test_a_recipe_reads_itself_back(pruning):
    recipe = Recipe.from_dict(pruning | {"start": "there"})
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.finetune.epochs == 1
    assert recipe.finetune.batch == recipe.train.batch
    assert recipe.finetune.warmup_epochs == 0
    assert "prune" not in Recipe.from_dict({"model": {"name": "small8"}, "data": {"name": "digits"}}).to_dict()


def test_a_run_does_not_replace_the_network_it_starts_from(pruning, table, images, tmp_path):
    recipe = Recipe.from_dict(table)
    train(build_net(recipe, images), images, recipe, out=tmp_path, show_progress=False, device="cpu")
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"start is .*model.safetensors, which this run in .* would replace"):
        fit(pruning | {"start": str(tmp_path)}, images, out=tmp_path, resume=False)
    taught = Recipe.from_dict(table | {"teacher": {"model": str(tmp_path)}})
    with pytest.raises(ValueError, match=r"teacher.model is .* would replace"):
        train(build_net(taught, images), images, taught, out=tmp_path, resume=False, device="cpu")
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_one_training_refuses_a_recipe_of_stages(pruning, images):
    recipe = Recipe.from_dict(pruning | {"start": "somewhere"})
    with pytest.raises(ValueError, match=r"has start, prune, finetune, but train\(\) trains one network once"):
        train(build_net(recipe, images), images, recipe, show_progress=False, device="cpu")
