"""A pruned network in files: the model file builds it again, and as integers it is a network like any other."""

import json

import numpy as np
import pytest
import torch
from pruning_nets import SPECS, random_keep, samples_for

from bitspike import IntegerNet, certify, create_model, lower, measure
from bitspike.cli import main
from bitspike.prune import remove_
from bitspike.spec import QuantSpec
from bitspike.train import ModelHeader, load_model, read_header, save_model
from bitspike.train.container import write_container
from bitspike.train.model_file import KIND, VERSION
from needed_tools import need_tool
from networks import ImageNet, settle_

OPTIONS = {"input_shape": [3, 8, 8], "first": 5, "widths": [7, 9, 11], "classes": 4, "time_steps": 2}
KEEP = {
    "first": [0, 2, 3], "stage1.0.first": [1, 4], "stage1.0.second": [0, 1, 2, 5, 6], "stage1.1.second": [3],
    "stage1.2.second": [0, 2, 4, 6], "stage2.0.first": [8], "stage2.0.second": [0, 1, 2, 3, 5, 8],
    "stage2.2.second": [1, 2, 7], "stage3.0.second": list(range(0, 11, 2)), "stage3.2.second": [0, 1, 5, 10],
}  # fmt: skip


def pruned_net(spec="2w4u"):
    net = create_model("resnet20", spec=spec, **OPTIONS)
    settle_(net)
    remove_(net, KEEP)
    return net.eval()


def header(spec="2w4u", **fields):
    return ModelHeader("resnet20", OPTIONS, QuantSpec.parse(spec).to_dict(), **fields)


@pytest.fixture
def saved(tmp_path):
    net = pruned_net()
    path = tmp_path / "model.safetensors"
    save_model(net, path, header())
    return net, path


def test_the_file_builds_the_pruned_network(saved):
    net, path = saved
    loaded, said = load_model(path)
    assert said.pruned == KEEP == loaded.pruned == read_header(path).pruned
    images = samples_for(net)
    assert torch.equal(net(images), loaded(images))
    assert measure(loaded).to_dict() == measure(net).to_dict()
    for given in (create_model("resnet20", spec="2w4u", **OPTIONS), pruned_net()):
        filled, _ = load_model(path, given)
        assert filled is given
        assert torch.equal(net(images), filled(images))


def test_a_network_that_was_pruned_otherwise_is_refused(saved):
    _, path = saved
    other = create_model("resnet20", spec="2w4u", **OPTIONS)
    remove_(other, KEEP | {"first": [0, 2, 4]})
    with pytest.raises(ValueError, match="was pruned otherwise than that of the model file"):
        load_model(path, other)


@pytest.mark.parametrize(
    ("pruned", "message"),
    [
        ([1], "no table of names and lists"),
        ({"first": 3}, "no table of names and lists"),
        ({"first": [0, 99]}, "give different channels from 0 to 4"),
        ({"first": ["a"]}, "give whole numbers"),
        ({"first": []}, "must keep at least one"),
        ({"last": [0]}, "which is no spiking block"),
    ],
)
def test_invalid_tables_are_one_sentence(saved, pruned, message):
    net, path = saved
    write_container(
        path, net.state_dict(), {"format": KIND, "version": VERSION, **header().to_dict(), "pruned": pruned}
    )
    with pytest.raises(ValueError, match=f"table of pruned channels does not fit the network: .*{message}") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_a_table_of_other_channels_does_not_fit_the_weights(saved):
    net, path = saved
    wrong = {"format": KIND, "version": VERSION, **header().to_dict(), "pruned": KEEP | {"first": [0, 1]}}
    write_container(path, net.state_dict(), wrong)
    with pytest.raises(ValueError, match=r"do not fit the network: .*first\.weight"):
        load_model(path)


def test_a_pruned_network_is_an_ordinary_integer_network(saved, tmp_path):
    need_tool("gcc")
    net, _ = saved
    images = samples_for(net, batch=3).numpy()
    whole = lower(net)
    found = certify(whole, images)
    assert found.differences == 0
    assert any(each.runner == "compiled C" for each in found.compared)
    whole.save(tmp_path / "pruned.bsp")
    again = IntegerNet.load(tmp_path / "pruned.bsp")
    with torch.no_grad():
        logits = net(torch.from_numpy(images)).mean(0)
    assert np.array_equal(again.predict(images), whole.predict(images))
    assert logits.argmax(-1).tolist() == again.predict(images).argmax(-1).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_pruned_convolved_and_plain_skips_are_certified(seed):
    need_tool("gcc")
    net = create_model("resnet19", input_shape=(3, 8, 8), spec=SPECS["4 bits"]) if seed == 0 else ImageNet("2w4u")
    if seed == 0:
        settle_(net)
    keep = random_keep(net, seed)
    if seed == 0:
        keep = {name: stay[:6] for name, stay in keep.items()}
    if seed == 3:
        keep = {"first": [0, 1], "second": [2, 3, 4]}  # nothing of the skip is left
    remove_(net, keep)
    assert certify(lower(net), samples_for(net).numpy()).differences == 0


def test_commands_open_a_pruned_model(tmp_path, capsys):
    torch.manual_seed(0)
    options = {"widths": [5, 6], "mean": [0.3], "std": 0.3, "time_steps": 2}
    net = create_model("small8", spec="1w4u", **options)
    remove_(net, {"conv1": [0, 2, 4], "conv2": [1, 2, 3, 5]})
    model, integers = tmp_path / "model.safetensors", tmp_path / "net.bsp"
    quant = QuantSpec.parse("1w4u").to_dict()
    save_model(net, model, ModelHeader("small8", options, quant, {"data": {"name": "digits"}}))
    seen = {}
    for words in (
        ["evaluate", str(model), "--data", "digits", "--json"],
        ["measure", str(model), "--json"],
        ["lower", str(model), "--out", str(integers), "--json"],
        ["certify", str(integers), "--data", "digits", "--samples", "8", "--json"],
        ["evaluate", str(integers), "--data", "digits", "--json"],
    ):
        assert main(words) == 0, capsys.readouterr()
        seen[words[0], words[1]] = json.loads(capsys.readouterr().out)
    assert seen["evaluate", str(model)]["accuracy"] == seen["evaluate", str(integers)]["accuracy"]
    layers = seen["measure", str(model)]["layers"]
    assert [layer["weights"] for layer in layers] == [9 * 3, 9 * 3 * 4, 4 * 4 * 10]
