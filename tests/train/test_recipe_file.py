"""Finding, reading and overriding recipe files; every recipe that we ship parses and builds its network."""

import re

import pytest

from bitspike.data import Dataset, dataset_info
from bitspike.train.from_recipe import build_net
from bitspike.train.recipe_file import apply_override, find_recipe, list_recipes, read_recipe

TEXT = """
quant = "1w2u"
[model]
name = "small8"
[data]
name = "digits"
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_by_path_and_by_name(file):
    assert read_recipe(file).name == "mine"
    assert find_recipe("qsnn-digits-1w2u").name == "qsnn-digits-1w2u.toml"
    assert read_recipe("qsnn-digits-1w2u").quant.short() == "1w2u"


def test_unknown_names_and_files(tmp_path):
    with pytest.raises(ValueError, match='did you mean "qsnn-digits-1w2u"'):
        find_recipe("qsnn-digit-1w2u")
    with pytest.raises(FileNotFoundError, match=r"no recipe file .*none\.toml"):
        find_recipe(tmp_path / "none.toml")


def test_overrides_change_single_values(file):
    overrides = ["train.epochs=3", "train.lr = 1e-2", "train.optimizer=sgd", "model.options.widths=[4, 8]"]
    recipe = read_recipe(file, [*overrides, "quant=1w4u", "train.channels_last=true"])
    assert (recipe.train.epochs, recipe.train.lr, recipe.train.optimizer) == (3, 0.01, "sgd")
    assert recipe.model.options == {"widths": [4, 8]}
    assert recipe.quant.membrane.bits == 4
    assert recipe.train.channels_last is True


def test_overrides_reach_into_a_short_quantization(file):
    recipe = read_recipe(file, ["quant.membrane.reset=soft"])
    assert recipe.quant.membrane.reset == "soft"
    assert recipe.quant.weight.bits == 1


@pytest.mark.parametrize("name", ["quant.override.layers.3.weight.bits", 'quant.override."layers.3".weight.bits'])
def test_overrides_reach_layers_whose_names_hold_dots(name):
    table = {"quant": "1w2u", "prune": {}}
    apply_override(table, f"{name}=4")
    assert table["quant"] == {"bits": "1w2u", "override": {"layers.3": {"weight": {"bits": 4}}}}
    apply_override(table, 'quant.override.stage1.0.conv="2w"')
    assert table["quant"]["override"]["stage1.0.conv"] == "2w"
    apply_override(table, "prune.ratios.stage1.0.conv=0.5")
    assert table["prune"] == {"ratios": {"stage1.0.conv": 0.5}}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.epoch=3", 'train.epoch is not a setting; did you mean "epochs"'),
        ("train.epochs", "must have the form section.field=value"),
        ("=3", "must have the form section.field=value"),
        ("train..epochs=3", "must have the form section.field=value"),
        ("data.name.x=3", "goes into name, which is not a table"),
        ("train.epochs=many", "train.epochs is 'many'"),
    ],
)
def test_bad_overrides_are_named(file, override, words):
    with pytest.raises((ValueError, TypeError)) as error:
        read_recipe(file, [override])
    assert words in str(error.value)
    assert override.split("=")[0] in str(error.value)


def test_apply_override_makes_missing_tables():
    table = {}
    apply_override(table, "regulation.spike_loss=0.5")
    assert table == {"regulation": {"spike_loss": 0.5}}


def test_files_that_are_not_toml(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("quant = ")
    with pytest.raises(ValueError, match=r"bad\.toml is not a valid TOML file"):
        read_recipe(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"bad\.toml is not a valid TOML file"):
        read_recipe(path)


def empty_dataset(recipe) -> Dataset:
    """A data set without samples, of the recipe's shape and classes."""
    import numpy as np

    info = dataset_info(recipe.data.name)
    channels, *size = info["shape"]
    shape = (0, channels, *recipe.data.options.get("size", size))
    if info["kind"] == "events":
        shape = (0, recipe.data.time_steps, *shape[1:])
        return Dataset(recipe.data.name, "train", np.zeros(shape, np.uint8), np.zeros(0, np.int64), info["classes"])
    mean = (0.5,) * channels
    return Dataset(
        recipe.data.name, "train", np.zeros(shape, np.uint8), np.zeros(0, np.int64), info["classes"], (), mean, 0.25
    )


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_every_recipe_parses_builds_its_network_and_has_a_header(name):
    import torch

    recipe = read_recipe(name)
    with torch.device("cpu"):
        net = build_net(recipe, empty_dataset(recipe))
    assert sum(value.numel() for value in net.parameters()) > 1000
    header = find_recipe(name).read_text().split("\n\n")[0]
    assert re.search(r"^# published: ", header, re.M)
    assert re.search(r"^# measured: ", header, re.M)
    if recipe.published.accuracy is not None and "ResNet19" in header:
        assert f"{100 * recipe.published.accuracy:.2f} %" in header


def test_ratios_take_the_place_of_a_recipes_target():
    with pytest.raises(ValueError, match=r"target = \{\} takes that of a recipe off"):
        read_recipe("qpsnn-fashion-2w", ["prune.ratios=0.5"])
    recipe = read_recipe("qpsnn-fashion-2w", ["prune.ratios=0.5", "prune.target={}"])
    assert (recipe.prune.ratios, recipe.prune.target) == (0.5, None)


def test_all_promised_recipes_are_there():
    promised = {
        "qsnn-digits-1w2u", "digits-float", "qsnn-mnist-1w2u", "mnist-float", "qsnn-fashion-1w2u",
        "qsnn-cifar10-resnet19-1w2u", "qsnn-cifar100-resnet19-1w2u", "qsnn-tinyimagenet-vgg16-1w2u",
        "qsnn-dvscifar10-vggsnn-1w2u", "qsnn-nmnist-subset-1w4u",
    }  # fmt: skip
    assert promised <= set(list_recipes())
