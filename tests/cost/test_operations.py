"""Operation counts from rates, against counts done by hand and by a direct convolution."""

from dataclasses import replace

import numpy as np
import pytest

from bitspike.cost import LayerCost, operations

FIRST = LayerCost("first", "conv", True, 27, 8, 0, 3, 50, 2, 270, static_input=True)
HIDDEN = LayerCost("hidden", "conv", False, 75, 1, 0, 5, 80, 2, 750, input_rate=0.2)
READOUT = LayerCost("readout", "readout", True, 20, 8, 4, 0, 0, 2, 20, input_rate=0.25)


def test_static_input_is_multiplied_once_and_spikes_are_added_every_step():
    counted = operations([FIRST, HIDDEN, READOUT], 4)
    assert counted.multiplications == 270
    assert counted.synaptic == pytest.approx(750 * 0.2 * 4 + 20 * 0.25 * 4)
    assert counted.dense == 270 + 4 * 750 + 4 * 20


def test_neuron_operations_per_step():
    counted = operations([FIRST, HIDDEN, READOUT], 4)
    assert [layer.adds for layer in counted.layers] == [2 * 200, 2 * 320, 0]
    assert (counted.adds, counted.shifts, counted.compares) == (1040, 1560, 1560)


def test_an_unmeasured_layer_leaves_the_total_unknown():
    counted = operations([FIRST, replace(HIDDEN, input_rate=None), READOUT], 4)
    assert counted.layers[1].synaptic is None
    assert counted.synaptic is None
    assert counted.to_dict()["synaptic"] is None
    assert counted.dense == 3350


def test_rate_times_macs_equals_the_additions_of_a_real_layer():
    """Without padding every spike reaches every weight of its channel: the count is exact."""
    generator = np.random.default_rng(1)
    spikes = generator.random((6, 40)) < 0.3  # [T, inputs] of a linear layer with 7 outputs
    row = LayerCost("linear", "linear", False, 280, 1, 0, 7, 7, 2, 280, input_rate=float(spikes.mean()))
    additions = sum(int(step.sum()) * 7 for step in spikes)
    assert operations([row], 6).synaptic == pytest.approx(additions)


def test_plain_data():
    plain = operations([HIDDEN], 2).to_dict()
    assert plain["time_steps"] == 2
    assert plain["layers"][0]["name"] == "hidden"
    assert plain["shifts"] == 3 * 80 * 2


def test_time_steps_below_one_are_refused():
    with pytest.raises(ValueError, match="time_steps is 0"):
        operations([HIDDEN], 0)
