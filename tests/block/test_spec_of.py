from hypothesis import given

from bitspike import create_model, quantize_
from bitspike.block.spec_of import layer_states, spec_of
from bitspike.spec import QuantSpec
from networks import ImageNet
from strategies import RandomNet, plans


@given(plans())
def test_quantizing_by_the_found_description_changes_nothing(plan):
    net = RandomNet(plan)
    before = layer_states(net)
    spec = spec_of(net)
    quantize_(net, QuantSpec.from_toml(spec.to_toml()))
    assert layer_states(net) == before


def test_the_description_of_a_plain_network_is_plain():
    for text in ("1w2u", "4w4u", "32w32u"):
        assert spec_of(create_model("small_vgg", spec=text, stages=((4,), (4,)))) == QuantSpec.parse(text)


def test_what_differs_is_named():
    net = ImageNet(
        QuantSpec.from_dict({"bits": "4w4u", "override": {"second": {"membrane": {"leak": "7/8", "bits": 6}}}})
    )
    (override,) = spec_of(net).overrides
    assert (override.pattern, override.weight) == ("second", ())
    assert dict(override.membrane) == {"bits": 6, "leak": "7/8"}
