"""Making networks by name."""

import json

import numpy as np
import pytest
import torch

from bitspike.model import create_model, list_models, model_defaults, register_model
from bitspike.model.registry import _MODELS
from bitspike.spec import QuantSpec


def test_listing_by_pattern():
    assert list_models() == [
        "resnet18",
        "resnet19",
        "resnet20",
        "sequence",
        "small28",
        "small8",
        "small_events",
        "small_touch",
        "small_vgg",
        "vgg16",
        "vggsnn",
    ]
    assert list_models("res*") == ["resnet18", "resnet19", "resnet20"]
    assert list_models("vgg*") == ["vgg16", "vggsnn"]
    assert list_models("nothing") == []


def test_defaults_are_listed():
    assert model_defaults("resnet19")["skip_norm"] == "own"
    assert set(model_defaults("small8")) == {"classes", "input_shape", "time_steps", "mean", "std", "widths"}


@pytest.mark.parametrize("name", list_models())
def test_every_model_takes_the_common_options(name):
    assert set(model_defaults(name)) >= {"classes", "input_shape", "time_steps", "mean", "std"}


def test_an_unknown_name_names_its_neighbours():
    with pytest.raises(ValueError, match=r"there is no model 'resnet91' \(did you mean 'resnet19'") as caught:
        create_model("resnet91")
    assert "small8" in str(caught.value)


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'small8' has no option 'time_step' \(did you mean 'time_steps'"):
        create_model("small8", time_step=3)


@pytest.mark.parametrize("spec", ["32w32u", "1w2u", QuantSpec.parse("2w4u"), QuantSpec.parse("4w8u").to_dict()])
def test_name_and_options_rebuild_the_network(spec):
    net = create_model("small8", classes=7, time_steps=3, mean=(0.3,), std=0.2, spec=spec)
    assert net.model_name == "small8"
    plain = json.loads(json.dumps(net.model_options))
    again = create_model(net.model_name, **plain)
    assert again.model_options == net.model_options == plain
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in net.state_dict().items()
    }
    assert str(again) == str(net)
    assert plain["classes"] == 7
    assert plain["widths"] == [16, 32]
    again.load_state_dict(net.state_dict())
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(net.eval()(images), again.eval()(images))


def test_the_given_spec_is_applied():
    net = create_model("small28", spec="1w2u")
    assert net.conv2.weight_spec.bits == 1
    assert net.conv1.weight_spec.bits == 8
    assert net.conv2.membrane_spec.bits == 2


def test_own_models_can_be_registered():
    @register_model("test_only")
    def make(*, classes=3):
        return torch.nn.Linear(2, classes)

    try:
        assert _MODELS["test_only"]().out_features == 3
        assert "test_only" in list_models("test*")
        with pytest.raises(ValueError, match="registered already"):
            register_model("test_only")(make)
    finally:
        del _MODELS["test_only"]


def test_arguments_without_a_default_or_by_position_are_refused():
    with pytest.raises(TypeError, match="argument 'classes' is not a keyword with a default"):
        register_model("test_only")(lambda *, classes: None)
    with pytest.raises(TypeError, match="argument 'classes'"):
        register_model("test_only")(lambda classes=3: None)
    with pytest.raises(TypeError, match="remove the argument 'spec'"):
        register_model("test_only")(lambda *, spec="1w2u": None)
    assert "test_only" not in list_models()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": 16}, r"widths is 16; give something like \[16, 32\]"),
        ({"widths": [16, 32.5]}, r"widths is \[16, 32.5\]"),
        ({"classes": "ten"}, "classes is 'ten'; give something like 10"),
        ({"time_steps": True}, "time_steps is True"),
    ],
)
def test_options_of_another_kind_are_refused(options, message):
    with pytest.raises(ValueError, match=f"model 'small8': {message}"):
        create_model("small8", **options)
    assert create_model("small8", widths=(4, np.int64(8))).conv2.out_channels == 8
