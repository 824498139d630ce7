"""`prune_`: scores in, a smaller network and a report out; and training goes on from there."""

import json

import pytest
import torch

from bitspike import create_model, measure
from bitspike.data import dataset_from_arrays
from bitspike.prune import Target, prune_, pruning
from bitspike.train import Recipe, load_model, train


class Scores:
    def __init__(self, numbers) -> None:
        self.numbers = torch.as_tensor(numbers)

    def order(self):
        return self.numbers


ORDERS = {"conv1": Scores([3, 1, 0, 2]), "conv2": [5, 4, 3, 2, 1, 0]}


def small(spec="2w4u"):
    torch.manual_seed(0)
    return create_model("small8", spec=spec, widths=(4, 6), classes=3, time_steps=2)


@pytest.fixture
def scored(monkeypatch):
    """A stand-in for the scores that notes how it was called."""
    calls = []

    def channel_scores(net, data, *, criterion, batches, batch, seed):
        calls.append((data, criterion, batches, batch, seed))
        return ORDERS

    monkeypatch.setattr(pruning, "channel_scores", channel_scores)
    return calls


def test_the_least_important_channels_go(scored):
    net = small()
    table = measure(net)
    report = prune_(net, "data", ratios={"conv1": 0.5, "conv2": 0.4}, criterion="sca", batches=2, batch=9, seed=4)
    assert scored == [("data", "sca", 2, 9, 4)]
    assert net.pruned == {"conv1": [0, 2], "conv2": [0, 1, 2]}
    assert [(layer.name, layer.before, layer.after, layer.ratio) for layer in report.layers] == [
        ("conv1", 4, 2, 0.5), ("conv2", 6, 3, 0.5),
    ]  # fmt: skip
    assert (report.parameters_before, report.memory_before) == (table.parameters, table.memory.total)
    table = measure(net)
    assert (report.parameters_after, report.memory_after) == (table.parameters, table.memory.total)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["layers"][0] == {"name": "conv1", "before": 4, "after": 2, "ratio": 0.5}


def test_one_share_for_all_and_a_protected_layer():
    net = small()
    prune_(net, ratios=0.5, protect=["conv1"], orders=ORDERS)
    assert net.pruned == {"conv2": [0, 1, 2]}


@pytest.mark.parametrize("target", [Target(parameters=0.5), {"parameters": 0.5}])
def test_a_target(target):
    net = small()
    report = prune_(net, target=target, orders=ORDERS)
    assert report.parameters_after <= 0.5 * report.parameters_before
    assert net.pruned["conv1"] in ([0, 2], [0, 1, 2], [2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either ratios, .* or a target"),
        ({"ratios": 0.5, "target": {"memory": 100}}, "either ratios"),
        ({"ratios": 0.9}, "none of the 4 channels of conv1"),
        ({"ratios": {"conv3": 0.5}}, "'conv3' matches no spiking block"),
        ({"target": {"memory": 10}}, "cannot be met"),
        ({"ratios": 0.5, "orders": {"conv1": [0, 1, 2, 3]}}, "conv2 is to lose channels, but no order"),
        ({"ratios": 0.5, "orders": {"conv1": [0, 1, 2, 2], "conv2": ORDERS["conv2"]}}, "the order of conv1"),
        ({"ratios": 0.5, "protect": ["nothing"]}, "protect: 'nothing' matches no"),
    ],
)
def test_refusals_change_nothing(options, message):
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        prune_(net, **{"orders": ORDERS, **options})
    after = net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not hasattr(net, "pruned")


def test_a_pruned_network_trains_on_and_its_file_knows(tmp_path):
    net = small()
    prune_(net, ratios=0.5, orders=ORDERS)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 1, 8, 8), dtype=torch.uint8, generator=generator).numpy()
    data = dataset_from_arrays(images, torch.arange(32).remainder(3).numpy(), name="made", classes=3)
    recipe = Recipe.from_dict(
        {
            "model": {"name": "small8"},
            "data": {"name": "made", "time_steps": 2, "validation": 0},
            "quant": "2w4u",
            "train": {"epochs": 1, "batch": 16},
        }
    )
    result = train(net, data, recipe, out=tmp_path, device="cpu", show_progress=False)
    assert result.header.pruned == {"conv1": [0, 2], "conv2": [0, 1, 2]} == net.pruned
    loaded, header = load_model(result.model_file)
    assert header == result.header
    samples = torch.from_numpy(images[:4])
    assert torch.equal(loaded(samples), net.eval()(samples))
    whole = small()
    with pytest.raises(ValueError, match="pruned"):
        train(whole, data, recipe, out=tmp_path, device="cpu", show_progress=False)
