"""The cost table as one plain object."""

import json

import pytest

from bitspike.cost import CostTable, LayerCost

ROWS = (
    LayerCost("first", "conv", True, 27, 8, 0, 3, 50, 2, 270, static_input=True, integer_bytes=27),
    LayerCost("readout", "readout", True, 20, 8, 4, 0, 0, 2, 20, input_rate=0.25, integer_bytes=16),
)


def test_totals():
    table = CostTable("tiny", ROWS, time_steps=2)
    assert table.parameters == 27 + 6 + 24
    assert table.memory.total == 27 + 27 + 13 + 20 + 16
    assert table.float_memory.total == 4 * (57 + 50)
    assert table.operations.synaptic == pytest.approx(20 * 0.25 * 2)
    assert table.energy is not None
    assert table.energy.multiply_joules == pytest.approx(270 * 4.6e-12)


def test_plain_data_survives_json():
    table = CostTable("tiny", ROWS, time_steps=2, batch=3)
    plain = json.loads(json.dumps(table.to_dict()))
    assert plain["name"] == "tiny"
    assert plain["totals"]["memory"]["membrane_all"] == 3 * 13
    assert plain["totals"]["energy"]["joules"] == table.energy.joules
    assert [layer["name"] for layer in plain["layers"]] == ["first", "readout"]
    assert plain["layers"][0]["memory"] == {"weights": 27, "channels": 27, "membrane": 39}
    assert plain["layers"][0]["operations"]["multiplications"] == 270
    assert "layers" not in plain["totals"]["operations"]


def test_without_rates_there_is_no_energy():
    rows = (ROWS[0], LayerCost("readout", "readout", True, 20, 8, 4, 0, 0, 2, 20, integer_bytes=16))
    table = CostTable("tiny", rows, time_steps=2)
    assert table.energy is None
    assert table.to_dict()["totals"]["energy"] is None
    assert table.to_dict()["totals"]["memory"]["total"] == 103
