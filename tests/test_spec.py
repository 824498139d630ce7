import re
from dataclasses import FrozenInstanceError, asdict, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.spec import LayerSpec, MembraneSpec, Override, QuantSpec, WeightSpec, parse_leak
from strategies import membrane_specs, weight_specs


def test_short_form():
    spec = QuantSpec.parse("1w2u")
    assert spec.weight == WeightSpec(bits=1, grid="binary", scale="mean", normalize="channel", gradient="annealed_tanh")
    assert spec.membrane == MembraneSpec(bits=2, rounding="nearest", reset="hard", leak=Fraction(1, 2), threshold=1.0)
    assert spec.ends == WeightSpec(bits=8, grid="twos_complement", scale="abs_max")
    assert spec.short() == "1w2u"


@pytest.mark.parametrize(
    ("text", "weight", "membrane", "ends"), [("4w", 4, 32, 8), ("2u", 32, 2, 32), (" 8w16u ", 8, 16, 8)]
)
def test_parts_of_the_short_form(text, weight, membrane, ends):
    spec = QuantSpec.parse(text)
    assert (spec.weight.bits, spec.membrane.bits, spec.ends.bits) == (weight, membrane, ends)


def test_32_bits_are_float():
    spec = QuantSpec.parse("32w32u")
    assert spec == QuantSpec()
    assert spec.weight.is_float
    assert spec.membrane.is_float
    assert spec.ends.is_float


@pytest.mark.parametrize("text", ["", "  ", "1w2", "w", "u", "1u2w", "-1w2u", "1.5w2u", "1w2u3"])
def test_unreadable_short_forms(text):
    with pytest.raises(ValueError, match='allowed: WEIGHTwMEMBRANEu such as "1w2u"'):
        QuantSpec.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9w2u", "weight.bits is 9; allowed: 1 to 8, or 32"),
        ("0w2u", "weight.bits is 0"),
        ("1w1u", "membrane.bits is 1; allowed: 2 to 16"),
        ("1w17u", "membrane.bits is 17"),
    ],
)
def test_widths_that_do_not_exist(text, message):
    with pytest.raises(ValueError, match=message):
        QuantSpec.parse(text)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"bits": 1, "grid": "ternary"}, "weight.grid is 'ternary'; allowed: binary, twos_complement, odd"),
        ({"bits": 4, "grid": "binary"}, "weight.bits with grid binary is 4; allowed: 1 to 1"),
        ({"bits": 1, "scale": "abs_max"}, "weight.scale with grid binary is 'abs_max'; allowed: mean, power_of_two"),
        ({"bits": 1, "grid": "odd"}, "weight.bits with grid odd is 1; allowed: 2 to 8"),
        (
            {"bits": 4, "grid": "odd", "scale": "max"},
            "weight.scale with grid odd is 'max'; allowed: mean, abs_max, perc",
        ),
        ({"bits": 4, "scale": "unit"}, "weight.scale with grid twos_complement is 'unit'; allowed: abs_max"),
        ({"bits": 4, "percentile": 0.5}, "weight.percentile is 0.5; allowed: above 0.5, up to 1"),
        ({"bits": 4, "percentile": 99}, "weight.percentile is 99"),
        ({"bits": 4, "percentile": float("nan")}, "weight.percentile is nan"),
        ({"bits": 4, "percentile": True}, "weight.percentile is True"),
        ({"bits": 4, "percentile": "99%"}, "weight.percentile is '99%'"),
        ({"bits": 1, "per": "pixel"}, "weight.per is 'pixel'; allowed: channel, layer"),
        ({"bits": 32, "per": "pixel"}, "weight.per is 'pixel'"),
        ({"bits": 4, "normalize": "batch"}, "weight.normalize is 'batch'"),
        ({"bits": 1, "gradient": "soft"}, "weight.gradient is 'soft'; allowed: clipped, annealed_tanh"),
        ({"bits": True}, "weight.bits is True"),
        ({"bits": 2.0}, "weight.bits is 2.0"),
        ({"bits": "4"}, "weight.bits is '4'"),
    ],
)
def test_weight_refusals_name_field_value_and_allowed(choices, message):
    with pytest.raises(ValueError, match=message):
        WeightSpec(**choices)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"bits": 1}, "membrane.bits is 1; allowed: 2 to 16, or 32 for float"),
        ({"rounding": "even"}, "membrane.rounding is 'even'; allowed: nearest, floor, stochastic"),
        ({"reset": "none"}, "membrane.reset is 'none'; allowed: hard, soft"),
        ({"threshold": 0}, "membrane.threshold is 0; allowed: a positive number"),
        ({"threshold": -1.0}, "membrane.threshold is -1.0"),
        ({"threshold": float("nan")}, "membrane.threshold is nan"),
        ({"threshold": float("inf")}, "membrane.threshold is inf"),
        ({"threshold": True}, "membrane.threshold is True"),
        ({"threshold": None}, "membrane.threshold is None"),
        ({"range": 0.0}, "membrane.range is 0.0; allowed: a positive number"),
        ({"form": "adaptive"}, "membrane.form is 'adaptive'; allowed: static, dynamic"),
        ({"form": "dynamic", "rounding": "stochastic"}, "membrane.rounding with form dynamic"),
        ({"seed": -1}, "membrane.seed is -1"),
        ({"seed": 2**32}, "membrane.seed is 4294967296"),
    ],
)
def test_membrane_refusals_name_field_value_and_allowed(choices, message):
    with pytest.raises(ValueError, match=message):
        MembraneSpec(**choices)


@pytest.mark.parametrize(
    ("value", "leak"), [("1/2", "1/2"), (0.875, "7/8"), (1, "1"), (0, "0"), ("5/256", "5/256"), (Fraction(3, 4), "3/4")]
)
def test_leaks(value, leak):
    assert parse_leak(value) == Fraction(leak)


def test_leak_parts():
    spec = MembraneSpec(bits=4, leak="3/4")
    assert (spec.leak_numerator, spec.leak_exponent, spec.levels) == (3, 2, 7)
    assert MembraneSpec(bits=2).levels == 1
    assert MembraneSpec(bits=16).levels == 32_767


@pytest.mark.parametrize("value", [0.9, "1/3", "1/512", -0.5, 1.5, "fast", None, float("nan"), True, [1]])
def test_leaks_that_shifts_cannot_express(value):
    with pytest.raises(ValueError, match=r"membrane\.leak is"):
        parse_leak(value)


def test_a_float_membrane_may_leak_by_any_factor():
    assert MembraneSpec(leak=0.9).leak == Fraction(9, 10)
    assert QuantSpec.from_toml(QuantSpec(membrane=MembraneSpec(leak=0.9)).to_toml()).membrane.leak == Fraction(9, 10)
    with pytest.raises(ValueError, match=r"membrane\.leak is 1\.5; allowed: a number from 0 to 1"):
        MembraneSpec(leak=1.5)
    with pytest.raises(ValueError, match=r"the nearest is 115/128"):
        MembraneSpec(bits=8, leak=0.9)


def test_a_leak_names_its_nearest_neighbour():
    with pytest.raises(ValueError, match="the nearest is 115/128"):
        parse_leak(0.9)


def test_specs_are_frozen_and_compare_by_value():
    with pytest.raises(FrozenInstanceError):
        WeightSpec().bits = 3
    assert hash(QuantSpec.parse("1w2u")) == hash(QuantSpec.parse("1w2u"))
    assert QuantSpec.parse("1w2u") != QuantSpec.parse("1w3u")


def patterns():
    return st.text(st.sampled_from("ab.*?[]\"'\\ #=ä1"), min_size=1, max_size=8)


def changes(spec):
    """A whole description as the changes of an override."""
    plain = QuantSpec(membrane=spec).to_dict()["membrane"] if isinstance(spec, MembraneSpec) else asdict(spec)
    return tuple((name, "auto" if value is None else value) for name, value in plain.items())


def quant_specs():
    weight = (weight_specs() | st.just(WeightSpec())).map(changes)
    override = st.builds(Override, patterns(), weight, membrane_specs().map(changes))
    overrides = st.lists(override, max_size=3, unique_by=lambda item: item.pattern)
    membranes = membrane_specs() | st.just(MembraneSpec())
    return st.builds(QuantSpec, weight_specs(), membranes, weight_specs(), overrides.map(tuple))


@given(quant_specs())
def test_dict_and_toml_both_ways(spec):
    assert QuantSpec.from_dict(spec.to_dict()) == spec
    assert QuantSpec.from_toml(spec.to_toml()) == spec


def test_an_override_may_return_to_the_default_range():
    spec = QuantSpec(
        membrane=MembraneSpec(bits=4, range=2.0), overrides=(Override("a", membrane=(("range", "threshold"),)),)
    )
    assert QuantSpec.from_dict(spec.to_dict()) == spec
    assert QuantSpec.from_toml(spec.to_toml()).for_layer("a").membrane.range is None


def test_a_recipes_table_changes_single_fields():
    spec = QuantSpec.from_toml(
        """
        bits = "1w4u"
        membrane.leak = "7/8"
        ends.bits = 4
        override."conv2*" = "4w8u"
        override."*".weight.scale = "power_of_two"
        """
    )
    assert spec.membrane == MembraneSpec(bits=4, leak=Fraction(7, 8))
    assert spec.ends == WeightSpec(bits=4)
    conv2 = spec.for_layer("conv2.a")
    assert conv2.weight == WeightSpec(bits=4)
    assert conv2.membrane == replace(spec.membrane, bits=8)
    assert spec.for_layer("conv1").weight == replace(spec.weight, scale="power_of_two")
    assert spec.for_layer("conv1").membrane == spec.membrane


def test_another_width_chooses_its_grid_afresh():
    spec = QuantSpec.from_dict({"bits": "1w2u", "weight": {"bits": 3}})
    assert (spec.weight.grid, spec.weight.scale) == ("twos_complement", "abs_max")


def test_the_odd_grid_as_a_table():
    spec = QuantSpec.from_toml(
        """
        bits = "4w32u"
        weight.grid = "odd"
        override."conv2".weight.bits = 2
        override."conv3".weight.scale = "mse"
        override."conv4".weight = { grid = "twos_complement" }
        override."conv5".weight = { bits = 1 }
        override."conv6" = "3w"
        """
    )
    odd = WeightSpec(bits=4, grid="odd", scale="mean")
    assert spec.weight == odd
    assert spec.ends == WeightSpec(bits=8, grid="twos_complement", scale="abs_max")  # ends stay, unless told
    assert spec.for_layer("conv2").weight == replace(odd, bits=2)  # the grid has this width, so it stays
    assert spec.for_layer("conv3").weight == replace(odd, scale="mse")
    assert spec.for_layer("conv4").weight == WeightSpec(bits=4, grid="twos_complement", scale="abs_max")
    assert spec.for_layer("conv5").weight == WeightSpec(bits=1, grid="binary", scale="mean")
    assert spec.for_layer("conv6").weight == WeightSpec(bits=3, grid="twos_complement")
    assert QuantSpec.from_toml(spec.to_toml()) == spec


def test_another_grid_chooses_its_scale_afresh():
    """abs_max would be a scale of both grids; that of the two's complement was not chosen for this one."""
    spec = QuantSpec.from_dict({"bits": "4w4u", "weight": {"grid": "odd"}, "ends": {"grid": "odd", "scale": "learned"}})
    assert spec.weight.scale == "mean"
    assert (spec.ends.bits, spec.ends.scale, spec.ends.is_learned) == (8, "learned", True)
    assert not spec.weight.is_learned


def test_levels_of_the_grids():
    specs = {
        WeightSpec(bits=1): (1, 2),
        WeightSpec(bits=2): (1, 3),
        WeightSpec(bits=8): (127, 255),
        WeightSpec(bits=2, grid="odd"): (3, 4),
        WeightSpec(bits=8, grid="odd"): (255, 256),
    }
    for spec, expected in specs.items():
        assert (spec.largest_code, spec.levels) == expected
    with pytest.raises(ValueError, match="32 bits are on no grid"):
        _ = WeightSpec().levels


def test_a_description_says_what_it_said_before_there_were_percentiles():
    """Fingerprints of runs under way hold it."""
    assert "percentile" not in QuantSpec.parse("1w2u").to_dict()["weight"]
    assert QuantSpec(WeightSpec(bits=4, grid="odd", percentile=0.9)).to_dict()["weight"]["percentile"] == 0.9


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"weights": {}}, "quant: the key is 'weights'; allowed: bits, weight, membrane, ends, override"),
        ({"weight": {"bit": 1}}, "weight: the key is 'bit'; allowed: bits, grid"),
        ({"weight": 4}, "weight is 4; allowed: a table"),
        ({"override": {"a": {"wieght": {}}}}, "override.*: the key is 'wieght'"),
        ({"override": {"a": 3}}, "is 3; allowed: a table"),
        ({"bits": 3}, "the quantization is '3'"),
        ({"membrane": {"bits": 4, "leak": 0.3}}, "membrane.leak is 0.3"),
    ],
)
def test_bad_tables(table, message):
    with pytest.raises(ValueError, match=message):
        QuantSpec.from_dict(table)


def test_bad_toml():
    with pytest.raises(ValueError, match="the quantization is not valid TOML"):
        QuantSpec.from_toml("bits = ")


def test_patterns_match_like_a_shell_and_the_first_wins():
    overrides = (Override("a.?", (("bits", 1),)), Override("a*", (("bits", 2),)))
    spec = replace(QuantSpec.parse("4w4u"), overrides=overrides)
    assert spec.for_layer("a.1") == LayerSpec(WeightSpec(bits=1), spec.membrane)
    assert spec.for_layer("a.10", end=True) == LayerSpec(WeightSpec(bits=2), spec.membrane)
    assert spec.for_layer("A.1") == LayerSpec(spec.weight, spec.membrane)
    assert spec.for_layer("b", end=True) == LayerSpec(spec.ends, spec.membrane)


def test_names_are_checked_before_there_are_bits():
    with pytest.raises(ValueError, match=r"weight.grid is 'nonsense'"):
        WeightSpec(grid="nonsense")
    with pytest.raises(ValueError, match=r"weight.scale is 'bogus'"):
        WeightSpec(scale="bogus")
    assert WeightSpec(grid="odd", scale="mse").is_float


def test_an_override_changes_an_end_from_what_the_end_has():
    spec = QuantSpec.from_dict({"bits": "1w2u", "override": {"*": {"membrane": {"bits": 4}}}})
    assert spec.for_layer("conv1", end=True) == LayerSpec(WeightSpec(bits=8), MembraneSpec(bits=4))
    assert spec.for_layer("conv2") == LayerSpec(QuantSpec.parse("1w2u").weight, MembraneSpec(bits=4))
    with pytest.raises(ValueError, match=r'override."\*".weight: the key is'):
        replace(spec, overrides=(Override("*", (("bit", 1),)),))


def test_fixed_point_and_roundings_of_weights():
    table = {"bits": "4w4u", "weight": {"scale": "power_of_two", "fraction": 3, "rounding": "stochastic", "seed": 9}}
    spec = QuantSpec.from_dict(table)
    assert (spec.weight.fraction, spec.weight.rounding, spec.weight.seed) == (3, "stochastic", 9)
    assert QuantSpec.from_toml(spec.to_toml()) == spec == QuantSpec.from_dict(spec.to_dict())
    assert "rounding" not in QuantSpec.parse("4w4u").to_dict()["weight"]


def test_an_override_may_return_to_a_fraction_that_is_chosen():
    override = Override("a", weight=(("fraction", "auto"),))
    spec = QuantSpec(WeightSpec(bits=4, scale="power_of_two", fraction=3), overrides=(override,))
    assert QuantSpec.from_toml(spec.to_toml()) == spec
    assert spec.for_layer("a").weight.fraction is None


def test_another_grid_takes_only_what_it_knows():
    base = QuantSpec(weight=WeightSpec(bits=4, scale="power_of_two", fraction=3, rounding="floor"))
    spec = QuantSpec(base.weight, overrides=(Override("a", (("bits", 2),)), Override("b", (("scale", "mse"),))))
    assert spec.for_layer("a").weight == WeightSpec(bits=2, scale="power_of_two", fraction=3, rounding="floor")
    assert spec.for_layer("b").weight == WeightSpec(bits=4, scale="mse", rounding="floor")
    one = QuantSpec(base.weight, overrides=(Override("a", (("bits", 1),)),)).for_layer("a").weight
    assert one == WeightSpec(bits=1)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"bits": 4, "fraction": 2}, "no fixed point"),
        ({"bits": 4, "scale": "power_of_two", "fraction": 40}, "weight.fraction is 40; allowed: -31 to 31"),
        ({"bits": 4, "scale": "power_of_two", "fraction": True}, "weight.fraction is True"),
        ({"bits": 4, "rounding": "up"}, "weight.rounding is 'up'; allowed: nearest, floor, stochastic"),
        ({"bits": 1, "rounding": "floor"}, "weight.rounding with grid binary is 'floor'; allowed: nearest"),
        ({"bits": 4, "seed": -1}, "weight.seed is -1"),
    ],
)
def test_wrong_fixed_points_are_refused(choices, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        WeightSpec(**choices)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: QuantSpec("1w2u"), "QuantSpec.weight is '1w2u'; give a WeightSpec"),
        (lambda: QuantSpec(membrane=4), "QuantSpec.membrane is 4; give a MembraneSpec"),
        (lambda: QuantSpec(ends="8w"), "QuantSpec.ends"),
        (lambda: LayerSpec("1w"), "LayerSpec.weight"),
    ],
)
def test_short_forms_in_the_wrong_place_name_the_right_one(make, named):
    with pytest.raises(TypeError, match=named) as caught:
        make()
    assert "QuantSpec.parse" in str(caught.value)
