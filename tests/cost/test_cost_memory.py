"""Our own accounting, on rows small enough to count by hand."""

from dataclasses import replace

import pytest

from bitspike.cost import LayerCost, as_float, layer_memory, memory

FIRST = LayerCost(
    name="first", kind="conv", end=True, weights=27, weight_bits=8, biases=0, norms=3, neurons=50,
    membrane_bits=2, macs=270, static_input=True, output_rate=0.5, integer_bytes=27,
)  # fmt: skip
HIDDEN = LayerCost(
    name="hidden", kind="conv", end=False, weights=75, weight_bits=1, biases=5, norms=5, neurons=81,
    membrane_bits=2, macs=750, input_rate=0.5, output_rate=0.25, integer_bytes=45,
)  # fmt: skip
READOUT = LayerCost(
    name="readout", kind="readout", end=True, weights=20, weight_bits=8, biases=4, norms=0, neurons=0,
    membrane_bits=2, macs=20, input_rate=0.25, integer_bytes=16,
)  # fmt: skip
ROWS = [FIRST, HIDDEN, READOUT]


def test_one_layer_rounds_up_to_whole_bytes():
    held = layer_memory(HIDDEN)
    assert (held.weights, held.channels, held.membrane, held.total) == (10, 45, 21, 76)


def test_total_is_weights_channels_and_every_membrane():
    held = memory(ROWS)
    assert held.weights == 27 + 10 + 20
    assert held.channels == 27 + 45 + 16
    assert held.membrane_all == 13 + 21
    assert held.membrane_largest == 21
    assert held.model == 145
    assert held.total == 145 + 34
    assert held.total_largest == 145 + 21


def test_only_the_membrane_grows_with_the_batch():
    one, eight = memory(ROWS), memory(ROWS, batch=8)
    assert eight.model == one.model
    assert eight.membrane_all == 8 * one.membrane_all
    assert eight.membrane_largest == 8 * one.membrane_largest


def test_float_counts_batch_norm_biases_and_state_at_32_bits():
    held = memory(as_float(ROWS))
    assert held.weights == 4 * (27 + 75 + 20)
    assert held.channels == 4 * (2 * 3 + 5 + 2 * 5 + 4)
    assert held.membrane_all == 4 * (50 + 81)


def test_a_float_layer_inside_a_quantized_network_keeps_its_batch_norm():
    unfolded = replace(HIDDEN, integer_bytes=0)
    assert layer_memory(unfolded).channels == 4 * 15


def test_no_layers_cost_nothing():
    assert memory([]).total == 0


def test_plain_data_holds_the_sums():
    plain = memory(ROWS).to_dict()
    assert plain["total"] == 179
    assert plain["total_largest"] == 166
    assert plain["batch"] == 1


def test_batch_below_one_is_refused():
    with pytest.raises(ValueError, match="batch is 0; give 1 or more"):
        memory(ROWS, batch=0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", -1, "weights is -1; a count is 0 or more"),
        ("integer_bytes", -4, "integer_bytes is -4"),
        ("weight_bits", 0, "weight_bits is 0; allowed are 1 to 32"),
        ("membrane_bits", 33, "membrane_bits is 33"),
        ("input_rate", float("nan"), "input_rate is nan"),
        ("output_rate", -0.5, "output_rate is -0.5"),
    ],
)
def test_a_row_refuses_impossible_numbers_and_names_its_layer(field, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        replace(HIDDEN, **{field: value})
    assert "'hidden'" in str(caught.value)
