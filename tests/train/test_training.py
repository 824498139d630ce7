"""The whole loop: it learns, it says what it did, it stops where it must."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn
from train_samples import make_images

from bitspike.block import SpikingConv2d, quantize_
from bitspike.data import load
from bitspike.locking import FolderInUse, own_folder
from bitspike.train.batches import Batches
from bitspike.train.config import Recipe
from bitspike.train.evaluate import evaluate
from bitspike.train.from_recipe import build_net, load_data, train_recipe
from bitspike.train.interrupt import TrainingStopped
from bitspike.train.model_file import load_model, read_header
from bitspike.train.recipe_file import read_recipe
from bitspike.train.run import choose_device, train


def fit(table, data, **options):
    recipe = Recipe.from_dict(table)
    return train(build_net(recipe, data), data, recipe, show_progress=False, device="cpu", **options)


def test_result_history_header_and_file(table, images, tmp_path):
    test = make_images(30, seed=5, split="test")
    records = []
    result = fit(table, images, test=test, out=tmp_path / "run", on_epoch=records.append)
    assert [item.name for item in (tmp_path / "run").iterdir()] == ["model.safetensors"]
    assert [record["epoch"] for record in records] == [0, 1, 2]
    assert records == result.results["history"]
    assert set(records[0]["firing_rates"]) == {"conv1", "conv2"}
    assert all(0 < rate < 1 for rate in records[0]["firing_rates"].values())
    assert records[2]["loss"] < records[0]["loss"]
    assert result.results["test_accuracy"] == evaluate(result.net, test).accuracy
    assert result.results["test_samples"] == 30
    assert result.results["validation_samples"] == 24
    assert result.results["firing_rates"] == evaluate(result.net, test).firing_rates
    assert result.header.provenance["seed"] == 0
    assert result.header.provenance["identity"]["data"]["fingerprint"] == images.fingerprint
    assert result.header.provenance["test_fingerprint"] == test.fingerprint
    assert not result.net.training
    loaded, header = load_model(result.model_file)
    assert header == result.header
    assert evaluate(loaded, test).accuracy == result.results["test_accuracy"]
    assert Recipe.from_dict(header.recipe) == Recipe.from_dict(table)


def test_the_seed_decides_everything(table, images):
    first, again = fit(table, images), fit(table, images)
    other = fit({**table, "train": {**table["train"], "seed": 1}}, images)
    same = [torch.equal(a, b) for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.net.conv1.weight, other.net.conv1.weight)


def test_the_average_is_what_is_kept(table, images):
    plain = fit({**table, "train": {**table["train"], "ema": 0}}, images)
    averaged = fit(table, images)
    assert not torch.equal(plain.net.conv1.weight, averaged.net.conv1.weight)
    assert plain.results["history"][-1]["loss"] == averaged.results["history"][-1]["loss"]


def test_a_run_that_is_finished_is_not_trained_again(table, images, tmp_path):
    first = fit(table, images, out=tmp_path)
    before = first.model_file.read_bytes()
    again = fit(table, images, out=tmp_path, on_epoch=lambda record: pytest.fail("it trained again"))
    assert again.resumed
    assert again.header == first.header
    assert torch.equal(again.net.conv1.weight, first.net.conv1.weight)
    assert first.model_file.read_bytes() == before
    changed = {**table, "train": {**table["train"], "lr": 0.02}}
    with pytest.raises(ValueError, match=r"recipe\.train\.lr was 0\.01 and is now 0\.02"):
        fit(changed, images, out=tmp_path)
    with pytest.raises(ValueError, match=r"data\.fingerprint was"):
        fit(table, make_images(96, seed=3), out=tmp_path)
    fresh = fit(changed, images, out=tmp_path, resume=False)
    assert not fresh.resumed
    assert fresh.header.recipe["train"]["lr"] == 0.02


def test_validation_every_so_often_and_none(table, images):
    table["train"]["validate_every"] = 2
    seen = [record["validation_accuracy"] for record in fit(table, images).results["history"]]
    assert [value is None for value in seen] == [True, False, False]
    table["data"]["validation"] = 0
    result = fit(table, images)
    assert "validation_accuracy" not in result.results
    assert result.results["history"][-1]["validation_accuracy"] is None


@pytest.mark.parametrize("changes", [
    {"optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4},
    {"precision": "bfloat16", "channels_last": True},
    {"loss": "time-mean", "label_smoothing": 0.1, "schedule": "constant", "optimizer": "adam"},
])  # fmt: skip
def test_settings_run_and_learn(table, images, changes, monkeypatch):
    monkeypatch.setattr("bitspike.train.precision.has_bfloat16", lambda device: True)  # emulated where it is missing
    table["train"] |= {"epochs": 6, "ema": 0, **changes}
    result = fit(table, images)
    assert result.results["history"][-1]["loss"] < 0.9 * result.results["history"][0]["loss"]


def test_regulation_moves_the_firing_rates_towards_the_target(table, images):
    def distance(strength):
        table["regulation"]["spike_loss"] = strength
        table["train"]["epochs"] = 12
        rates = fit(table, images).results["history"][-1]["firing_rates"].values()
        return sum((rate - 0.5) ** 2 for rate in rates)

    assert distance(10.0) < 0.5 * distance(0.0)


def test_events_train(events, table):
    table["model"] = {"name": "small_events", "options": {"widths": [4, 8]}}
    table["quant"] = "1w4u"
    table["data"] = {"name": "sides", "validation": 0}
    table["augment"] = {"roll": 1}
    table["train"]["batch"] = 8
    result = fit(table, events)
    assert result.results["history"][-1]["train_accuracy"] > 0.8
    assert result.header.options["time_steps"] == 3
    assert result.header.options["bound"] == 15


def test_batches_visit_the_samples_once_and_depend_on_the_position_only(table, images):
    recipe = Recipe.from_dict({**table, "augment": {}})
    net = build_net(recipe, images)
    batches = Batches(images, recipe, net, torch.device("cpu"))
    assert (batches.steps, batches.size) == (6, 16)
    seen = torch.cat([batches.get(1, step)[0] for step in range(6)])
    assert sorted(map(bytes, seen.numpy())) == sorted(map(bytes, images.inputs))
    later = Batches(images, Recipe.from_dict(table), net, torch.device("cpu"))
    assert torch.equal(later.get(1, 4)[1], batches.get(1, 4)[1])
    changed = later.get(1, 4)[0]
    assert torch.equal(changed, Batches(images, Recipe.from_dict(table), net, torch.device("cpu")).get(1, 4)[0])
    assert not torch.equal(changed, batches.get(1, 4)[0])


def test_a_batch_larger_than_the_data_is_the_data(table, images):
    table["train"]["batch"] = 1000
    assert fit(table, images).results["history"][0]["samples_per_second"] > 0


class Explodes(nn.Module):
    """Turns to NaN in the given forward pass."""

    def __init__(self, when):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64, 3))
        self.when, self.calls = when, 0

    def forward(self, images):
        self.calls += self.training
        logits = images.flatten(1).float() @ self.weight / 1000
        return (logits * (float("nan") if self.calls == self.when else 1.0)).unsqueeze(0)


def test_a_loss_that_is_not_finite_names_epoch_and_step(table, images, tmp_path):
    table["regulation"]["spike_loss"] = 0
    recipe = Recipe.from_dict(table)
    with pytest.raises(ValueError, match=r"the loss became nan in epoch 2, step 3 of 4; .*train\.lr") as error:
        train(Explodes(7), images, recipe, out=tmp_path, show_progress=False)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "model.safetensors").exists()


def test_weights_that_are_no_numbers_are_refused_before_the_first_step(table, images):
    recipe = Recipe.from_dict(table)
    net = build_net(recipe, images)
    with torch.no_grad():
        net.conv2.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"the network cannot be trained: conv2.weight holds 1 values that are NaN"):
        train(net, images, recipe, show_progress=False, device="cpu")


def test_a_network_with_other_classes_is_refused(table, images):
    recipe = Recipe.from_dict(table)
    net = build_net(replace(recipe, model=replace(recipe.model, options={"classes": 2})), images)
    with pytest.raises(ValueError, match="tells 2 classes apart, stripes has 3"):
        train(net, images, recipe, show_progress=False)


def test_regulation_of_too_shallow_a_network_says_what_to_set(table, images):
    table["regulation"] = {"spike_loss": 1e-3}
    with pytest.raises(ValueError, match=r'finds none among 2 spiking blocks; set regulation\.layers = "all"'):
        fit(table, images)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_step_and_the_run_resumes_to_the_same_end(table, images, tmp_path, number):
    whole = fit(table, images)

    class Signal:
        calls = 0

        def __call__(self, *_):
            self.calls += 1
            if self.calls == 6:
                os.kill(os.getpid(), number)

    recipe = Recipe.from_dict(table)
    net = build_net(recipe, images)
    net.register_forward_hook(lambda *_: signaller() if net.training else None)
    signaller = Signal()
    with pytest.raises(TrainingStopped, match="stopped in epoch 2 after step 2") as stopped:
        train(net, images, recipe, out=tmp_path, show_progress=False)
    assert stopped.value.signal_number == number
    resumed = fit(table, images, out=tmp_path)
    assert resumed.resumed
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, resumed.net.state_dict()[name]), name
    strip = ("seconds", "samples_per_second")
    for one, other in zip(whole.results["history"], resumed.results["history"], strict=True):
        assert {k: v for k, v in one.items() if k not in strip} == {k: v for k, v in other.items() if k not in strip}


def test_stopping_without_a_folder_says_that_nothing_is_kept(table, images):
    with pytest.raises(TrainingStopped, match="nothing was kept"):
        fit(table, images, on_epoch=lambda record: os.kill(os.getpid(), signal.SIGINT))


def test_choose_device():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match='device is "gpu9"; give auto, cpu'):
        choose_device("gpu9")


def test_a_network_of_ones_own_trains_with_hooks_only_on_blocks(table, images):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            from bitspike.block import Flatten, ImageInput, Readout

            self.input = ImageInput((1, 8, 8), mean=images.mean, std=images.std, time_steps=2)
            self.conv = SpikingConv2d(1, 4, input_scale=1 / (255 * images.std))
            self.flatten, self.readout = Flatten(), Readout(256, 3)

        def forward(self, pictures):
            return self.readout(self.flatten(self.conv(self.input(pictures))))

    torch.manual_seed(0)
    net, recipe = Own(), Recipe.from_dict(table)
    with pytest.raises(ValueError, match=r"layer conv .* not quantized as the recipe says \(1w2u\); call quantize_"):
        train(net, images, recipe, show_progress=False)
    quantize_(net, recipe.quant)
    result = train(net, images, recipe, show_progress=False)
    assert result.results["validation_accuracy"] > 0.5
    assert list(result.results["firing_rates"]) == ["conv"]


@pytest.mark.parametrize(("name", "epochs", "least"), [("digits-float", 6, 0.93), ("qsnn-digits-1w2u", 8, 0.9)])
def test_digits_end_to_end(name, epochs, least):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    recipe = read_recipe(name, [f"train.epochs={epochs}"])
    result = train_recipe(recipe, show_progress=False, device="cpu")
    assert result.results["test_accuracy"] >= least
    assert result.results["test_samples"] == len(load("digits", "test"))
    assert len(load_data(recipe, "train")) > 1400


def test_recipe_time_steps_reach_the_network(table, images):
    recipe = Recipe.from_dict(table)
    deeper = replace(recipe, data=replace(recipe.data, time_steps=5))
    net = build_net(deeper, images).eval()
    assert net(torch.from_numpy(images.inputs[:2])).shape == (5, 2, 3)


def test_a_folder_that_began_with_another_network_says_so(table, images, tmp_path, caplog):
    first = fit(table, images, out=tmp_path)
    caplog.clear()
    fit(table, images, out=tmp_path)
    assert "began with" not in caplog.text
    recipe = Recipe.from_dict(table)
    other = build_net(recipe, images)
    with torch.no_grad():
        other.conv1.weight += 1
    again = train(other, images, recipe, out=tmp_path, show_progress=False, device="cpu")
    assert "began with another network or other weights" in caplog.text
    assert torch.equal(again.net.conv1.weight, first.net.conv1.weight)


def test_a_second_run_in_the_same_folder_is_refused(table, images, tmp_path):
    with own_folder(tmp_path), pytest.raises(FolderInUse, match="another process trains in"):
        fit(table, images, out=tmp_path)
    assert not any(tmp_path.iterdir())
    told = []

    def meddle(record):
        with pytest.raises(FolderInUse):
            fit(table, images, out=tmp_path)
        told.append(record)

    assert fit(table, images, out=tmp_path, on_epoch=meddle).results["history"] == told


def test_a_finished_run_is_tested_where_it_was_not(table, images, tmp_path):
    test = make_images(30, seed=5, split="test")
    assert "test_accuracy" not in fit(table, images, out=tmp_path / "late").results
    late = fit(table, images, out=tmp_path / "late", test=test)
    early = fit(table, images, out=tmp_path / "early", test=test)
    assert late.results["test_accuracy"] == early.results["test_accuracy"]
    stored = read_header(late.model_file)
    assert stored.results["test_accuracy"] == early.results["test_accuracy"]
    assert stored.provenance["test_fingerprint"] == test.fingerprint
    assert stored.results["history"] == late.results["history"] != []


def test_weights_that_become_no_numbers_leave_the_last_state(table, images, tmp_path):
    recipe = Recipe.from_dict(table | {"regulation": {"spike_loss": 0}})
    net = build_net(recipe, images)

    def break_it(record):
        with torch.no_grad():
            net.conv2.weight[0, 0, 0, 0] = float("nan")

    with pytest.raises(ValueError, match=r"cannot go on, and .*state.safetensors stays as it was: conv2.weight"):
        train(net, images, recipe, out=tmp_path, show_progress=False, device="cpu", on_epoch=break_it)
