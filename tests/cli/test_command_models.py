"""`bitspike models`."""

import pytest

from bitspike.model import create_model, list_models


def test_every_model_is_listed_with_its_true_parameters(cli):
    found = {item["name"]: item for item in cli("models", "--json").json["models"]}
    assert list(found) == list_models()
    net = create_model("small28")
    assert found["small28"]["parameters"] == sum(parameter.numel() for parameter in net.parameters())
    assert found["resnet19"]["parameters"] == 12_569_226
    assert found["vggsnn"]["input_shape"] == [2, 48, 48]


def test_a_pattern_chooses(cli):
    done = cli("models", "res*")
    assert done.code == 0
    assert "12,569,226" in done.out
    assert "vgg16" not in done.out


@pytest.mark.parametrize("name", list_models())
def test_every_model_is_described(cli, name):
    (item,) = cli("models", name, "--json").json["models"]
    assert len(item["description"]) > 20
    assert "logits" not in item["description"]
