"""Numbers of candidates agree with what `measure` and `evaluate` say of the same network."""

import numpy as np
import pytest
import torch
from settings import float_net, stripes

from bitspike import lower, measure
from bitspike.data import Dataset
from bitspike.explore.numbers import check_objectives, latency, numbers_of
from bitspike.ptq import calibrate_
from bitspike.train import evaluate
from networks import EventNet, events


@pytest.fixture(scope="module")
def made():
    net = float_net()
    calibrate_(net, "2w3u", [torch.from_numpy(stripes(48).inputs)])
    return net.eval(), lower(net), stripes(60, seed=1)


def test_accuracy_and_memory(made):
    net, integers, data = made
    found = numbers_of(integers, data, ())
    assert found["accuracy"] == evaluate(net, data).accuracy == found["correct"] / found["samples"]
    assert found["samples"] == 60
    cost = measure(net)
    assert (found["memory"], found["memory_largest"]) == (cost.memory.total, cost.memory.total_largest)
    assert found["parameters"] == cost.parameters
    assert {"operations", "energy", "latency"}.isdisjoint(found)


def test_operations_and_energy(made):
    net, integers, data = made
    found = numbers_of(integers, data, ("accuracy", "operations", "energy"))
    cost = measure(net, [data.inputs])
    assert found["operations"] == pytest.approx(cost.operations.synaptic + cost.operations.multiplications)
    assert found["energy"] == pytest.approx(cost.energy.joules)


def test_latency_is_that_of_one_sample(made):
    _, integers, data = made
    assert 0 < latency(integers.predict, data, calls=3) < 10
    assert numbers_of(integers, data, ("latency",))["latency"] > 0


@pytest.mark.parametrize("given", [(), ("accuracy", "size"), ("accuracy", "accuracy")])
def test_objectives_that_cannot_be(given):
    with pytest.raises(ValueError, match="give one or more of accuracy, memory, operations, energy, latency, each"):
        check_objectives(given)


def test_objectives():
    assert check_objectives(["memory", "accuracy"]) == ("memory", "accuracy")


def test_open_time_is_that_of_the_data():
    inputs = np.moveaxis(events(3, 4).numpy(), 1, 0)
    data = Dataset("made", "test", inputs, np.zeros(4, np.int64), 3, bound=3)
    nets = [lower(EventNet(time_steps=steps, bias=False)) for steps in (3, None)]
    known, open_time = (numbers_of(net, data, ("operations", "energy")) for net in nets)
    assert open_time["operations"] == known["operations"] > 0
    assert open_time["energy"] == known["energy"]
