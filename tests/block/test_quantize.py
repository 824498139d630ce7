import json
from dataclasses import replace
from fractions import Fraction

import pytest
from torch import nn

from bitspike import MembraneSpec, QuantSpec, create_model, quantize_
from bitspike.block import SpikingLinear
from bitspike.spec import Override
from networks import ImageNet


def test_report_and_ends():
    net = ImageNet(None)
    report = quantize_(net, "1w2u")
    assert [(item.name, item.end, item.layer.weight.bits) for item in report.layers] == [
        ("first", True, 8),
        ("second", False, 1),
        ("readout", True, 8),
    ]
    assert report.ignored == ()
    assert net.first.membrane_spec == net.second.membrane_spec == MembraneSpec(bits=2)
    assert net.second.weight_spec.gradient == "annealed_tanh"
    assert [net.first.stream, net.second.stream] == [0, 1]
    assert report.to_dict() == {
        "layers": [
            {"name": "first", "end": True, "weight_bits": 8, "membrane_bits": 2},
            {"name": "second", "end": False, "weight_bits": 1, "membrane_bits": 2},
            {"name": "readout", "end": True, "weight_bits": 8, "membrane_bits": 32},
        ],
        "ignored": [],
    }


def test_overrides_by_pattern_and_back_to_float():
    net = ImageNet(None)
    own = Override("sec*", weight=(("bits", 3), ("normalize", "none")), membrane=(("bits", 5),))
    quantize_(net, replace(QuantSpec.parse("1w2u"), overrides=(own,)))
    assert (net.second.weight_spec.bits, net.second.membrane_spec) == (3, MembraneSpec(bits=5))
    assert net.first.weight_spec.bits == 8
    quantize_(net, "32w32u")
    assert not net.second.has_integer_form
    assert net.readout.weight_spec.is_float


def test_foreign_parameters_are_reported():
    net = nn.ModuleDict({"a": SpikingLinear(2, 2), "b": nn.ModuleDict({"c": nn.Linear(2, 2)}), "d": nn.ReLU()})
    assert quantize_(net, "4w4u").ignored == ("b.c",)


def test_refusals():
    with pytest.raises(ValueError, match="holds no spiking block"):
        quantize_(nn.Linear(2, 2), "1w2u")
    missing = replace(QuantSpec.parse("1w2u"), overrides=(Override("third"),))
    with pytest.raises(ValueError, match="'third' matches no layer; layers are first, second, readout"):
        quantize_(ImageNet(None), missing)
    with pytest.raises(ValueError, match="the quantization is 'tiny'"):
        quantize_(ImageNet(None), "tiny")


def test_quantize_touches_no_weight():
    net = ImageNet(None)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    quantize_(net, "1w2u")
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


def test_a_table_is_read_as_in_a_recipe():
    net = create_model("small8")
    quantize_(net, {"bits": "2w4u", "weight": {"grid": "odd"}})
    assert (net.conv2.weight_spec.grid, net.conv2.weight_spec.bits, net.conv1.weight_spec.bits) == ("odd", 2, 8)
    assert net.conv2.membrane_spec.bits == 4


def test_all_or_nothing_and_no_override_in_vain():
    net = create_model("small8", spec="4w4u")
    before = [
        (block.weight_spec, getattr(block, "membrane_spec", None)) for block in (net.conv1, net.conv2, net.readout)
    ]
    mean = {"bits": "2w4u", "override": {"readout": {"weight": {"scale": "power_of_two", "fraction": 99}}}}
    for wrong, message in (
        (mean, "weight.fraction is 99"),
        ({"bits": "1w4u", "override": {"readout": {"weight": {"bits": 1}}, "conv2": {"weight": {"scale": "mse"}}}},
         r"quantize_: layer conv2: weight.scale with grid binary is 'mse'"),
        ({"bits": "4w4u", "override": {"conv*": "4w", "conv2": "2w"}}, "earlier overrides take all .* 'conv2'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            quantize_(net, wrong)
    after = [
        (block.weight_spec, getattr(block, "membrane_spec", None)) for block in (net.conv1, net.conv2, net.readout)
    ]
    assert after == before
    quantize_(net, {"bits": "1w2u", "override": {"readout": {"weight": {"scale": "mse"}}}})
    assert (net.readout.weight_spec.bits, net.readout.weight_spec.scale) == (8, "mse")


def test_an_overrides_leak_is_written_as_text():
    spec = QuantSpec.from_dict({"bits": "1w2u", "override": {"conv2": {"membrane": {"leak": Fraction(7, 8)}}}})
    assert QuantSpec.from_toml(spec.to_toml()) == QuantSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
