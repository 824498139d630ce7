"""What a change of a quantization makes of the layers, by hand."""

import re
from fractions import Fraction

import pytest

from bitspike.ptq import SpecChange
from bitspike.ptq.change import Wanted
from bitspike.spec import LayerSpec, MembraneSpec, QuantSpec, WeightSpec

SLOW = LayerSpec(WeightSpec(), MembraneSpec(leak="9/10", threshold=0.7, reset="soft"))


def applied(change, layer=SLOW, name="conv", *, end=False):
    return SpecChange.of(change).apply(name, layer, end=end)


def test_a_short_form_changes_widths_and_keeps_what_the_neurons_are():
    found = applied("4w3u")
    assert found.layer.weight == WeightSpec(bits=4)
    # 0.9 is no k / 2^e: the nearest is 115 / 128
    assert found.layer.membrane == MembraneSpec(bits=3, leak="115/128", threshold=0.7, reset="soft")
    assert applied("4w3u", end=True).layer.weight == WeightSpec(bits=8)


def test_half_of_a_short_form_leaves_the_other_half():
    assert applied("4w").layer == LayerSpec(WeightSpec(bits=4), SLOW.membrane)
    assert applied("4u").layer.weight == SLOW.weight


def test_one_bit_brings_the_standardized_sign_and_takes_no_rounding():
    change = SpecChange.of({"bits": "1w2u", "weight": {"rounding": "floor", "scale": "mse"}})
    assert change.apply("conv", SLOW, end=False).layer.weight == QuantSpec.parse("1w2u").weight
    plain = {"weight": {"bits": 1, "scale": "percentile", "rounding": "stochastic", "seed": 4}}
    assert applied(plain).layer.weight == WeightSpec(bits=1)


def test_float_weights_take_nothing_of_a_grid():
    base = LayerSpec(WeightSpec(bits=4, scale="mse"), MembraneSpec(bits=4))
    assert applied({"weight": {"bits": 32, "scale": "mse"}}, base).layer.weight == WeightSpec()


@pytest.mark.parametrize(("bits", "leak"), [(1, "1"), (2, "1"), (3, "7/8"), (4, "7/8"), (8, "115/128")])
def test_bits_of_the_leak(bits, leak):
    """0.9 * 2 = 1.8 -> 2; 3.6 -> 4; 7.2 -> 7; 14.4 -> 14; 230.4 -> 230."""
    assert applied({"membrane": {"bits": 4, "leak_bits": bits}}).layer.membrane.leak == Fraction(leak)
    assert applied({"membrane": {"leak_bits": bits}}).layer.membrane == MembraneSpec(
        leak=leak, threshold=0.7, reset="soft"
    )


def test_ranges_are_numbers_or_ways_to_find_them():
    assert applied({"bits": "4w4u", "membrane": {"range": "mse"}}).range == "mse"
    assert applied({"membrane": {"range": "mse"}}).range == ""  # a float membrane stores everything
    fixed = applied({"bits": "4w4u", "membrane": {"range": 2.5}})
    assert (fixed.range, fixed.layer.membrane.range) == ("", 2.5)
    base = LayerSpec(WeightSpec(bits=4), MembraneSpec(bits=4, range=2.5))
    assert applied({"membrane": {"range": "threshold"}}, base).layer.membrane.range is None
    both = {"membrane": {"range": "max", "bits": 4}, "override": {"conv": {"membrane": {"range": 3.0}}}}
    assert applied(both) == Wanted(
        LayerSpec(WeightSpec(), MembraneSpec(bits=4, leak="115/128", threshold=0.7, reset="soft", range=3.0))
    )
    assert applied(both, name="other").range == "max"


def test_all_patterns_that_match_count_in_their_order():
    change = {
        "bits": "8w8u",
        "override": {"conv*": {"weight": {"bits": 4}}, "*2": "2w", "fc": {"membrane": {"bits": 3}}},
    }
    assert [applied(change, name=name).layer.weight.bits for name in ("conv1", "conv2", "fc2", "fc")] == [4, 2, 2, 8]
    assert applied(change, name="fc").layer.membrane.bits == 3


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_a_layer_may_be_wider_than_the_binary_ones(bits):
    """Its grid is chosen afresh, as where a description is read."""
    change = {"bits": "1w4u", "override": {"fc": {"weight": {"bits": bits}}}}
    assert applied(change, name="conv").layer.weight == QuantSpec.parse("1w4u").weight
    assert applied(change, name="fc").layer.weight == QuantSpec.from_dict(change).for_layer("fc").weight
    odd = {"bits": "1w4u", "override": {"fc": {"weight": {"bits": bits, "grid": "odd"}}}}
    assert applied(odd, name="fc").layer.weight.grid == "odd"


def test_tables_count_together_so_a_scale_may_stand_apart_from_its_bits():
    change = {"ends": {"scale": "mse"}, "override": {"fc": {"weight": {"bits": 4}}}}
    assert applied(change, name="fc", end=True).layer.weight == WeightSpec(bits=4, scale="mse")
    assert applied(change, name="conv", end=True).layer.weight == WeightSpec()
    other = {"weight": {"bits": 4, "scale": "power_of_two", "fraction": 2, "rounding": "floor"}}
    grid = {**other, "override": {"a": {"weight": {"grid": "odd"}}, "b": {"weight": {"scale": "mse"}}}}
    assert applied(grid, name="a").layer.weight == WeightSpec(bits=4, grid="odd")
    assert applied(grid, name="b").layer.weight == WeightSpec(bits=4, scale="mse", rounding="floor")


def test_a_change_is_plain_data():
    change = SpecChange.of(
        {"bits": "2w4u", "membrane": {"range": "mse"}, "override": {"a*": "3w", "b": {"weight": {"scale": "mse"}}}}
    )
    assert SpecChange.of(change.to_dict()) == change
    spec = QuantSpec.parse("1w2u")
    assert SpecChange.of(spec).apply("x", SLOW, end=False).layer == spec.for_layer("x")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wieght": {}}, "quant: the key is 'wieght'; allowed: bits, weight, membrane, ends, override"),
        ({"weight": 3}, "weight is 3; allowed: a table"),
        ({"weight": {"bit": 3}}, "weight: the key is 'bit'; allowed: bits,"),
        (
            {"membrane": {"bits": 4, "range": "best"}},
            "membrane.range is 'best'; allowed: a positive number, threshold,",
        ),
        ({"membrane": {"leak_bits": 9}}, "membrane.leak_bits is 9; allowed: 1 to 8"),
        ({"membrane": {"leak_bits": True}}, "membrane.leak_bits is True"),
        ({"override": {"a": {"ends": {}}}}, "override.\"a\": the key is 'ends'; allowed: weight, membrane"),
        ("4x4u", "the quantization is '4x4u'"),
    ],
)
def test_wrong_changes_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SpecChange.of(change).apply("a", SLOW, end=False)


def test_a_pattern_without_a_layer_is_refused():
    with pytest.raises(ValueError, match=r"the override 'conv9' matches no layer; layers are conv1, fc"):
        SpecChange.of({"override": {"conv9": "4w"}}).refuse_unmatched(["conv1", "fc"])
