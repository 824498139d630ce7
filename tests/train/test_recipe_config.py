"""Recipes as data: round trips, and errors that name file, field, value and what is allowed."""

import json
from dataclasses import replace

import pytest

from bitspike.spec import QuantSpec
from bitspike.train.config import DataConfig, Recipe, TrainConfig


def test_round_trip_through_json(table):
    recipe = Recipe.from_dict(table)
    plain = json.loads(json.dumps(recipe.to_dict()))
    assert plain == recipe.to_dict()
    assert Recipe.from_dict(plain) == recipe
    assert recipe.quant == QuantSpec.parse("1w2u")
    assert recipe.train.lr == 0.01


def test_training_dict_leaves_out_what_does_not_decide_the_weights(table):
    recipe = Recipe.from_dict(table)
    renamed = Recipe.from_dict({**table, "name": "other", "published": {"accuracy": 0.5}})
    assert renamed.training_dict() == recipe.training_dict()
    assert recipe.with_seed(4).training_dict() != recipe.training_dict()
    assert recipe.with_seed(4).train.seed == 4
    table = recipe.to_dict() | {"prune": {"ratios": 0.5}, "finetune": {}}
    assert type(recipe).from_dict(table).with_seed(4).finetune.seed == 4


def test_a_field_that_came_later_makes_no_other_run_of_older_ones(table):
    given = table | {"prune": {"ratios": 0.5}, "finetune": {}}
    recipe = Recipe.from_dict(given)
    assert recipe.to_dict()["prune"]["multiple_of"] == 1
    assert "multiple_of" not in recipe.training_dict()["prune"]
    given["prune"] = {"ratios": 0.5, "multiple_of": 8}
    assert Recipe.from_dict(given).training_dict()["prune"]["multiple_of"] == 8


def test_a_whole_number_is_accepted_where_a_number_is_meant(table):
    table["train"]["lr"] = 1
    rate = Recipe.from_dict(table).train.lr
    assert rate == 1.0
    assert isinstance(rate, float)


def test_quant_may_be_a_table(table):
    table["quant"] = {"bits": "1w2u", "membrane": {"bits": 4}}
    assert Recipe.from_dict(table).quant.membrane.bits == 4


@pytest.mark.parametrize(
    ("section", "key", "value", "words"),
    [
        ("train", "epoch", 3, ["a.toml: train.epoch is not a setting", 'did you mean "epochs"?']),
        ("train", "epochs", "ten", ["a.toml: train.epochs is 'ten'", "a whole number"]),
        ("train", "epochs", 0, ["a.toml: train: epochs is 0", ">= 1"]),
        ("train", "epochs", 2.5, ["train.epochs is 2.5", "a whole number"]),
        ("train", "epochs", True, ["train.epochs is True", "a whole number"]),
        ("train", "lr", 0, ["lr is 0", "> 0"]),
        ("train", "lr", float("nan"), ["lr is nan", "> 0"]),
        ("train", "optimizer", "sdg", ["optimizer is 'sdg'", "allowed: sgd, adam, adamw"]),
        ("train", "channels_last", 1, ["train.channels_last is 1", "true or false"]),
        ("train", "warmup_epochs", 9, ["warmup_epochs is 9", "epochs, which is 3"]),
        ("train", "ema", 1.0, ["ema is 1.0", "<= 0.99999"]),
        ("data", "validation", 0.9, ["validation is 0.9", "<= 0.5"]),
        ("data", "time_step", 4, ['did you mean "time_steps"?']),
        ("model", "options", [1], ["model.options is [1]", "a table"]),
        ("regulation", "form", "max", ["form is 'max'", "allowed: sum, mean"]),
        ("augment", "flipp", 1, ['did you mean "flip"?']),
        ("augment", "crop", -1, ["a.toml: augment", "crop is -1"]),
        ("published", "accuracy", 95.2, ["accuracy is 95.2", "<= 1"]),
    ],
)
def test_bad_settings_name_file_field_value_and_what_is_allowed(table, section, key, value, words):
    table.setdefault(section, {})[key] = value
    with pytest.raises((ValueError, TypeError)) as error:
        Recipe.from_dict(table, "a.toml")
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_sections_and_missing_names(table):
    with pytest.raises(ValueError, match='trian is not a setting; did you mean "train"'):
        Recipe.from_dict({**table, "trian": {}}, "a.toml")
    with pytest.raises(ValueError, match=r"the table \[model\] is missing"):
        Recipe.from_dict({"data": {"name": "digits"}}, "a.toml")
    with pytest.raises(ValueError, match=r"data\.name is missing"):
        Recipe.from_dict({**table, "data": {"time_steps": 2}}, "a.toml")
    with pytest.raises(TypeError, match="model is 'small8'; it must be a table"):
        Recipe.from_dict({**table, "model": "small8"}, "a.toml")


def test_bad_quantization_names_the_file(table):
    with pytest.raises(ValueError, match=r"a\.toml: quant: .*1w99u|a\.toml: quant: .*99"):
        Recipe.from_dict({**table, "quant": "1w99u"}, "a.toml")
    with pytest.raises(TypeError, match="quant is 3"):
        Recipe.from_dict({**table, "quant": 3}, "a.toml")


def test_the_same_limits_hold_in_python():
    with pytest.raises(ValueError, match="batch is 0"):
        TrainConfig(batch=0)
    with pytest.raises(ValueError, match="time_steps is 0"):
        DataConfig("digits", time_steps=0)
    with pytest.raises(ValueError, match=r"epochs is 1.5; it must be a whole number"):
        TrainConfig(epochs=1.5)
    with pytest.raises(ValueError, match="channels_last is 'no'; it must be true or false"):
        TrainConfig(channels_last="no")
    with pytest.raises(ValueError, match="loss is 'mse'"):
        replace(TrainConfig(), loss="mse")


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "a b", "..", "x\n"])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ValueError, match="a recipe's name is"):
        Recipe.from_dict({"name": name, "model": {"name": "small8"}, "data": {"name": "digits"}})
