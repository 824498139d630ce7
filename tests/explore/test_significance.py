"""Curves of a tiny network, and the space that they propose."""

import json

import pytest
from settings import float_net, stripes

from bitspike.explore import Curve, Significance, significance
from bitspike.explore.selection import Baseline


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    options = {"validation": stripes(60, seed=1), "calibration": (2, 24), "out": folder}
    swept = significance(float_net(), stripes(96), **options)
    assert (folder / "groups" / "exploration.json").is_file()
    assert significance(float_net(), stripes(96), **options) == swept  # goes on, with nothing left to do
    return swept


def test_a_database_holds_both_of_its_tables(found, tmp_path):
    options = {"validation": stripes(60, seed=1), "calibration": (2, 24), "storage": f"sqlite:///{tmp_path}/s.db"}
    assert significance(float_net(), stripes(96), **options) == found


def test_one_curve_for_each_group_and_layer(found):
    names = {curve.name for curve in found.curves}
    assert {"weights", "ends", "membrane", "leak", "conv1 weights", "conv1 membrane", "readout weights"} <= names
    curves = {curve.name: curve for curve in found.curves}
    assert list(curves["weights"].accuracy) == list(range(1, 9))
    assert list(curves["membrane"].accuracy) == list(range(2, 9))
    assert curves["weights"].accuracy[8] == curves["ends"].accuracy[8] == found.widest
    assert len(set(curves["leak"].accuracy.values())) == 1  # 1/2 is a shift at any width
    assert curves["conv1 weights"].dimension == "override.conv1.weight.bits"


def test_the_proposed_space_is_around_what_is_needed(found):
    space = found.space(0.02)
    assert "membrane.leak_bits" not in space.dimensions
    for curve in found.curves:
        if curve.dimension in space.dimensions:
            need = curve.needed(found.widest - 0.02)
            assert need in space.dimensions[curve.dimension]
            assert all(need - 1 <= bits <= need + 2 for bits in space.dimensions[curve.dimension])
    assert {"weight.bits", "membrane.bits", "ends.bits"} <= set(space.dimensions)


def test_needed_is_the_width_down_to_which_all_are_good_enough():
    curve = Curve("weights", "", "weight.bits", {1: 0.95, 2: 0.7, 3: 0.9, 4: 0.89, 8: 0.92})
    assert curve.needed(0.9) == 8
    assert curve.needed(0.89) == 3
    assert curve.needed(0.5) == 1
    assert curve.needed(0.99) == 8


def test_a_layer_that_needs_less_gets_a_dimension_of_its_own():
    flat, steep = {bits: 0.9 for bits in range(1, 9)}, {bits: 0.9 if bits > 3 else 0.5 for bits in range(1, 9)}
    curves = (
        Curve("weights", "", "weight.bits", steep),
        Curve("weights", "a", "override.a.weight.bits", flat),
        Curve("weights", "b", "override.b.weight.bits", steep),
    )
    space = Significance(Baseline(0.9, 1000), 0.9, curves).space(0.01)
    assert space.dimensions == {"weight.bits": [3, 4, 5, 6], "override.a.weight.bits": [1, 2, 3]}


def test_as_plain_data_and_back(found):
    assert Significance.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert found.start == "float network"
