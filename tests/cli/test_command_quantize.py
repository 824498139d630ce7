"""`bitspike quantize`: a float network and a few samples give a network of integers."""

import pytest
import torch

from bitspike.cli.opening import open_model
from bitspike.data import load, split_validation
from bitspike.drawing import drawn_batches
from bitspike.ptq import calibrate_


def test_the_file_is_what_calibration_gives(cli, trained, tmp_path):
    done = cli("quantize", trained["float"], "4w3u", "--set", "membrane.range=mse", "--set", "ends.bits=5", "--samples",
               "200", "--out", "q.safetensors", "--json")  # fmt: skip
    assert done.code == 0
    found = done.json
    assert found["quant"]["ends"]["bits"] == 5
    assert set(found["ranges"]) == {"conv1", "conv2"}
    assert found["memory"]["total"] < found["float_memory"]["total"]
    net, header, _ = open_model(tmp_path / "q.safetensors")
    same, before, _ = open_model(trained["float"])
    training, _ = split_validation(load("digits", "train"), before.recipe["data"]["validation"], seed=0)
    (samples,) = drawn_batches(training, 1, 200, 0)
    change = {"bits": "4w3u", "membrane": {"range": "mse"}, "ends": {"bits": 5}}
    calibrate_(same, change, samples.split(128))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in net.state_dict().items())
    assert header.provenance["calibration"]["samples"] == 200
    assert header.results["start"]["test_accuracy"] == before.results["test_accuracy"]
    assert cli("evaluate", "q.safetensors", "--json").json["form"] == "integer"
    assert cli("lower", "q.safetensors", "--json").code == 0


def test_a_layer_by_name(cli, trained):
    done = cli("quantize", trained["float"], "4w4u", "--set", "override.conv2.weight.bits=2", "--out", "q.safetensors",
               "--json")  # fmt: skip
    assert [layer["weight_bits"] for layer in done.json["layers"]][:2] == [8, 2]


def test_half_quantized_and_quantized_twice_are_said(cli, trained):
    done = cli("quantize", trained["float"], "4w", "--out", "half.safetensors")
    assert done.code == 0
    assert "no integer form yet" in done.out
    done = cli("quantize", "half.safetensors", "4u", "--out", "q.safetensors")
    assert done.code == 0
    assert "half.safetensors is quantized already" in done.err
    assert "no integer form" not in done.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("9w9u",), "weight.bits is 9"),
        (("32w32u",), "32w32u leaves every layer in floats"),
        (("fourbits",), "fourbits"),
        (("4w4u", "--set", "weigth.bits=4"), "the key is 'weigth'"),
        (("4w4u", "--set", "weight.bitz=4"), "the key is 'bitz'"),
        (("4w4u", "--set", "weight.bits"), "--set weight.bits: give NAME=VALUE"),
        (("4w4u", "--set", "bits.weight=2"), "has no fields"),
        (("4w4u", "--set", "override.conv9.weight.bits=2"), "'conv9' matches no layer; layers are conv1, conv2"),
        (("4w4u", "--set", "membrane.range=wide"), "membrane.range is 'wide'"),
        (("4w4u", "--samples", "0"), "--samples is 0"),
        (("4w4u", "--samples", "100000"), "--samples is 100000; digits has 1298"),
        (("4w4u", "--out", "q.bsp"), "ending with .safetensors"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(cli, trained, tmp_path, options, said):
    done = cli("quantize", trained["float"], *options, *(() if "--out" in options else ("--out", "q.safetensors")))
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_integers_and_a_missing_file_are_refused(cli, written):
    assert "is an integer network already" in cli("quantize", written["small"], "4w4u").err
    assert cli("quantize", "nothing.safetensors", "4w4u").code == 2


def test_the_model_itself_is_not_written_over(cli, trained):
    done = cli("quantize", trained["float"], "4w4u", "--out", trained["float"])
    assert done.code == 2
    assert "another file than the model's" in done.err
