"""Rows from a graph alone are the rows of the network that it was lowered from."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings

from bitspike import lower
from bitspike.cost.integers import Rates, activity_of_graph, describe_graph, sums_of_windows
from bitspike.cost.operations import operations
from bitspike.integer.graph import Dense, Flatten, Graph, Input, Pool, Readout, Spiking
from bitspike.measuring import describe
from bitspike.runtime.rates import firing_rates
from hand_graphs import everything, fire
from networks import ImageNet, images
from strategies import RandomNet, plans


@given(plan=plans())
@example_settings(max_examples=40)
@pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")
def test_the_same_as_from_the_blocks(plan):
    net = RandomNet(plan)
    try:
        graph = lower(net).graph
    except ValueError:
        return
    rows = describe_graph(graph)
    for mine, theirs in zip(rows, describe(net), strict=True):
        assert mine.weight_bits <= theirs.weight_bits  # the bits that the codes need
        assert mine.levels <= theirs.levels
        assert mine.weight_bits < theirs.weight_bits or mine.levels == theirs.levels
        assert mine.utilization_estimate is None  # there are no latent weights
        given = {"biases": theirs.biases, "norms": theirs.norms, "weight_bits": theirs.weight_bits}
        given |= {"levels": theirs.levels, "utilization_estimate": theirs.utilization_estimate}
        assert replace(mine, **given) == theirs


def test_rates_and_activity_of_a_known_network():
    net = lower(ImageNet())
    samples = images(6).numpy()
    rates = firing_rates(net, [samples[:4], samples[4:]])
    values = net.spikes(samples)
    assert rates["second"] == Rates(values["first"].mean(), values["first"].mean(), values["second"].mean())
    assert rates["readout"].source == values["flatten"].mean()
    first, second = activity_of_graph(net.graph, rates)
    assert (first.name, first.firing_rate, second.firing_rate) == (
        "first",
        rates["first"].result,
        values["second"].mean(),
    )
    rows = describe_graph(net.graph, rates)
    assert rows[0].input_rate is None and rows[1].input_rate == rates["second"].source
    with pytest.raises(ValueError, match="no samples were given"):
        firing_rates(net, [])


def test_pixels_stay_pixels_behind_pools_and_flatten():
    graph = Graph(
        (
            Input("input", "image", (1, 4, 4), 3, (99,), 255, 1.0),
            Pool("halves", "input", "sum", (2, 2), (2, 2)),
            Pool("whole", "halves", "max", None, None),
            Flatten("flatten", "whole"),
            Spiking("first", "flatten", Dense(np.ones((2, 1), np.int8)), fire(2), None),
            Readout("readout", "first", np.ones((2, 2), np.int8), np.zeros(2, np.int32), 1.0, 3),
        )
    )
    first, readout = describe_graph(graph, {"first": Rates(-78.0, None, 0.5), "readout": Rates(0.5, None, 0.0)})
    assert (first.static_input, first.input_rate, first.output_rate) == (True, None, 0.5)
    assert (readout.static_input, readout.input_rate) == (False, 0.5)
    assert [layer.multiplications for layer in operations([first, readout], 3).layers] == [2, 0]


def test_skips_and_readouts_may_see_pixels_too():
    rates = {"third": Rates(0.25, -3.0, 0.5)}
    rows = {row.name: row for row in describe_graph(everything(), rates)}
    assert (rows["third"].static_input, rows["third"].input_rate) == (False, 0.25)
    assert (rows["third.skip"].static_input, rows["third.skip"].input_rate) == (True, None)
    plain = Readout("readout", "flatten", np.ones((2, 4), np.int8), np.zeros(2, np.int32), 1.0, 3)
    entry = Input("input", "image", (1, 2, 2), 3, (99,), 255, 1.0)
    (readout,) = describe_graph(Graph((entry, Flatten("flatten", "input"), plain)), {"readout": Rates(-3.0, None, 0.0)})
    assert (readout.static_input, readout.input_rate) == (True, None)


@pytest.mark.parametrize(("window", "stride", "sums"), [(2, 2, 8 * 8), (3, 1, 9 * 9), (3, 2, 9 * 9), (2, 3, 6 * 6)])
def test_every_sum_that_a_window_sees_is_counted_once(window, stride, sums):
    """Of 9 x 9 sums: windows side by side, overlapping, and apart."""
    assert sums_of_windows([(9 - window) // stride + 1] * 2, (window, window), (stride, stride)) == sums
