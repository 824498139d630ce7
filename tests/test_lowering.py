import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from bitspike import MembraneSpec, QuantSpec, WeightSpec, lower, quantize_
from bitspike.block import EventInput, Flatten, ImageInput, Readout, SpikingConv2d, SpikingLinear, SumPool
from bitspike.integer import graph
from bitspike.lowering import DeadZoneWarning, input_ranges, trace
from bitspike.spec import Override
from networks import EventNet, ImageNet, events, images, settle_


@pytest.fixture(autouse=True)
def strict_warnings():
    """Only the tests about it may see the dead zone's warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def agree(net, samples):
    integer = lower(net)
    logits = net.eval()(samples)
    units = logits.sum(0) / (integer.graph.readout.unit * len(logits))
    assert np.array_equal(units.round().long().numpy(), integer.predict(samples.numpy()))
    return integer


class Grown(EventNet):
    """An event network with one more part, put between convolution and readout by `between`."""

    def __init__(self, between, spec="4w4u", part=None):
        super().__init__(spec)
        self.between = between
        if part is not None:
            self.part = part

    def forward(self, value):
        spikes = self.between(self, self.conv(self.input(value)))
        return self.readout(self.flatten(spikes))


def test_graph_of_a_known_network():
    integer = agree(ImageNet(), images())
    first, second = integer.graph.spiking
    assert [type(node).__name__ for node in integer.graph.nodes] == [
        "Input",
        "Spiking",
        "Spiking",
        "Pool",
        "Flatten",
        "Readout",
    ]
    assert integer.graph.input == graph.Input("input", "image", (2, 6, 6), 3, (102, 153), 255, 1 / 63.75)
    assert (first.source, second.source, second.skip) == ("input", "first", graph.PlainSkip("first", 1, None, 1))
    assert first.operator.weight.codes.dtype == np.int8
    assert set(np.unique(second.operator.weight.codes)) == {-1, 1}
    assert (first.fire.leak, first.fire.leak_exponent, first.fire.levels) == (1, 1, 7)
    assert second.fire.threshold.shape == (5, 2)
    assert second.fire.stream == 1
    assert integer.graph.readout.time_steps == 3
    assert integer.notes == ()


def test_lower_leaves_modes_statistics_and_gradients_alone():
    net = ImageNet().train()
    net.first.eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    lower(net)
    assert (net.training, net.first.training, net.first.norm.training, net.second.training) == (
        True,
        False,
        False,
        True,
    )
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    with pytest.raises(ValueError, match="no block made"):
        lower(Grown(lambda net, x: x + 1).train())


def test_later_training_does_not_reach_a_lowered_network():
    net = ImageNet("4w4u")
    integer = lower(net)
    before = integer.predict(images().numpy())
    with torch.no_grad():
        net.second.weight.mul_(-1)
        net.first.norm.bias.add_(3)
        net.readout.bias.add_(100)
    assert np.array_equal(integer.predict(images().numpy()), before)


class Branching(nn.Module):
    """User-written: Python loops and conditions, one block run twice, a value read by three."""

    def __init__(self):
        super().__init__()
        self.input = EventInput((2, 4, 4), bound=3, time_steps=3)
        self.start = SpikingConv2d(2, 4)
        self.again = SpikingConv2d(4, 4)
        self.unused = SpikingConv2d(4, 4)
        self.pool = SumPool(2)
        self.flat = Flatten()
        self.readout = Readout(16, 3)
        settle_(self)
        quantize_(self, "3w5u")

    def forward(self, value):
        spikes = self.start(self.input(value))
        for _ in range(3):
            if spikes.shape[-1] > 2:
                spikes = self.again(spikes)
        return self.readout(self.flat(self.pool(spikes)))


def test_control_flow_and_shared_blocks():
    net = Branching()
    integer = agree(net, events())
    names = [node.name for node in integer.graph.nodes]
    assert names == ["input", "start", "again", "again#2", "again#3", "pool", "flat", "readout"]
    state = integer.state()
    for now in events():
        logits = integer.step(now.numpy(), state)
    assert np.array_equal(logits, integer.predict(events().numpy()))
    assert set(state.membranes()) == {"start", "again", "again#2", "again#3"}


def test_blocks_inside_foreign_containers_and_identities_lower():
    agree(Grown(lambda net, x: net.part(x), part=nn.Sequential(nn.Identity(), nn.Dropout(0.5))), events())


@pytest.mark.parametrize(
    ("between", "part", "message"),
    [
        (lambda net, x: net.part(x), nn.ReLU(), r"flatten reads a value that no block made.*part \(ReLU\)"),
        (lambda net, x: net.part(x), nn.Sequential(nn.Sigmoid()), r"part.0 \(Sigmoid\)"),
        (lambda net, x: x + x, None, "an operation in forward, such as x \\+ y"),
        (lambda net, x: x[:, :, :4], None, "no block made"),
        (lambda net, x: x.add_(1), None, "changes the result of conv in place"),
    ],
)
def test_what_lies_between_blocks_is_refused_by_name(between, part, message):
    with pytest.raises(ValueError, match=message):
        lower(Grown(between, part=part))


def test_in_place_changes_that_cannot_be_seen_by_identity():
    def doubled(net, x):
        x *= 2
        return x

    with pytest.raises(ValueError, match="changes the result of conv in place; only blocks may"):
        lower(Grown(doubled))


def test_layers_without_integer_form_are_refused_by_name():
    net = ImageNet(None)
    with pytest.raises(ValueError, match=r'first has weights of 32 bits.*quantize_\(net, "1w2u"\) first'):
        lower(net)
    quantize_(net, "4w32u")
    with pytest.raises(ValueError, match="first has membrane of 32 bits"):
        lower(net)
    quantize_(net, "4w4u")
    net.readout.weight_spec = WeightSpec()
    with pytest.raises(ValueError, match="readout has weights of 32 bits"):
        lower(net)


def test_the_dynamic_membrane_is_refused_with_its_reason():
    net = ImageNet(None)
    quantize_(net, replace(QuantSpec.parse("4w4u"), overrides=(Override("second", membrane=(("form", "dynamic"),)),)))
    with pytest.raises(ValueError, match=r'second has the dynamic membrane.*maximum over the batch.*form = "static"'):
        lower(net)


def test_sums_beyond_32_bits_are_refused_by_name():
    net = ImageNet("8w16u")
    with torch.no_grad():
        net.second.norm.running_var.fill_(1e14)
    with pytest.raises(
        ValueError, match=r"^second: its sums can reach \d+ with a rounding shift of \d+, which does not"
    ):
        lower(net)


def test_numbers_that_are_not_finite_are_refused_by_name():
    net = ImageNet()
    with torch.no_grad():
        net.second.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="second holds weights or batch-norm statistics that are not finite"):
        lower(net)


def made(parts, forward):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, value):
            return forward(self, value)

    net = Net()
    quantize_(net, "4w4u")
    return net


def test_inputs_missing_or_too_many():
    with pytest.raises(ValueError, match="has 0 input blocks; it needs exactly one"):
        lower(made({"dense": SpikingLinear(2, 2)}, lambda net, x: net.dense(x)))
    two = {"one": EventInput((1, 1, 1), bound=1), "two": EventInput((1, 1, 1), bound=1), "dense": SpikingLinear(1, 1)}
    with pytest.raises(ValueError, match="has 2 input blocks"):
        lower(made(two, lambda net, x: net.dense(net.one(x))))


def test_samples_read_past_the_input():
    parts = {"input": EventInput((1, 2, 2), bound=1), "conv": SpikingConv2d(1, 1), "out": Readout(1, 2)}
    with pytest.raises(ValueError, match="conv reads the network's samples; they enter through input"):
        lower(made(parts, lambda net, x: net.out(net.conv(x))))


@pytest.mark.parametrize(
    "forward",
    [lambda net, x: net.conv(net.input(x)), lambda net, x: net.readout(net.flatten(net.conv(net.input(x)))) * 2],
)
def test_outputs_that_are_no_readout(forward):
    class Net(EventNet):
        def forward(self, value):
            return forward(self, value)

    with pytest.raises(ValueError, match="must return the result of a Readout, unchanged"):
        lower(Net())


def test_open_time_needs_a_readout_without_bias():
    with pytest.raises(ValueError, match=r"input takes any number of time steps.*give EventInput its time_steps"):
        lower(EventNet(time_steps=None))
    net = EventNet(time_steps=None, bias=False).eval()
    integer = lower(net)
    for steps in (1, 2, 5):
        logits = net(events(steps))
        expected = (logits.sum(0) / integer.graph.readout.unit).round().long().numpy()
        assert np.array_equal(integer.predict(events(steps).numpy()), expected)


@pytest.mark.parametrize(("bits", "leak", "zone", "levels"), [(2, "7/8", 1, 1), (2, "3/4", 1, 1), (4, "7/8", 4, 7)])
def test_wide_dead_zones_are_noted_and_warned_of(bits, leak, zone, levels):
    net = EventNet()
    quantize_(net, QuantSpec(WeightSpec(4), MembraneSpec(bits, leak=Fraction(leak)), WeightSpec(8)))
    text = f"conv: stored membranes up to {zone} of {levels} steps never leak \\(leak {leak}, rounding nearest\\)"
    with pytest.warns(DeadZoneWarning, match=text):
        integer = lower(net)
    assert len(integer.notes) == 1
    assert integer.notes[0].startswith("conv: stored membranes up to")


@pytest.mark.parametrize(
    ("bits", "leak", "rounding"),
    [(8, "7/8", "nearest"), (4, "1/2", "nearest"), (4, "7/8", "stochastic"), (2, "0", "nearest")],
)
def test_narrow_dead_zones_are_quiet(bits, leak, rounding):
    net = EventNet()
    membrane = MembraneSpec(bits, leak=Fraction(leak), rounding=rounding)
    quantize_(net, QuantSpec(WeightSpec(4), membrane, WeightSpec(8)))
    assert lower(net).notes == ()


@pytest.mark.parametrize("leak", ["1/2", "1"])
def test_fast_leaks_and_no_leak_are_noted_without_a_warning(leak):
    net = EventNet()
    quantize_(net, QuantSpec(WeightSpec(4), MembraneSpec(2, leak=Fraction(leak)), WeightSpec(8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lower(net).notes == (
            f"conv: stored membranes up to 1 of 1 steps never leak (leak {leak}, rounding nearest)",
        )


def test_layers_with_the_same_dead_zone_share_one_note():
    notes = lower(ImageNet("1w2u")).notes
    assert len(notes) == 1
    assert notes[0].startswith("first, second: stored membranes")


def test_trace_tells_shapes_and_sources():
    steps = trace(ImageNet())
    assert [(step.name, step.sources) for step in steps] == [
        ("input", ()),
        ("first", ("input",)),
        ("second", ("first", "first")),
        ("pool", ("second",)),
        ("flatten", ("pool",)),
        ("readout", ("flatten",)),
    ]
    assert steps[0].shape == (3, 1, 2, 6, 6)
    assert steps[3].shape == (3, 1, 5, 3, 3)
    assert steps[5].source_shapes == ((3, 1, 45),)


def test_ranges_stay_with_their_pixels_through_flatten():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.input = ImageInput((2, 1, 3), mean=(0.0, 1.0), std=0.25, time_steps=2)
            self.flatten = Flatten()
            self.dense = SpikingLinear(6, 4)
            self.readout = Readout(4, 3)
            quantize_(self, "8w4u")

        def forward(self, images):
            return self.readout(self.dense(self.flatten(self.input(images))))

    net = Flat()
    found = input_ranges(trace(net))
    assert found["flatten"].low.tolist() == [0, 0, 0, -255, -255, -255]
    assert found["flatten"].high.tolist() == [255, 255, 255, 0, 0, 0]
    assert found["dense"].high.tolist() == [1, 1, 1, 1]
    pixels = torch.randint(0, 256, (5, 2, 1, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    agree(net, pixels)


class DependsOnValues(ImageNet):
    """Goes another way through its blocks for a dark image."""

    def forward(self, images):
        spikes = self.first(self.input(images))
        if images.float().mean() > 50:
            spikes = self.second(spikes, spikes)
        return self.readout(self.flatten(self.pool(spikes)))


def test_a_way_that_depends_on_values_is_refused():
    net = DependsOnValues("1w2u")
    with pytest.raises(ValueError, match="forward takes another way for another sample"):
        lower(net)


def test_an_input_layer_that_is_defined_late_is_noted():
    class Late(nn.Module):
        def __init__(self, order):
            super().__init__()
            self.input = ImageInput((1, 4, 4), time_steps=2, mean=0.5, std=0.25)
            layers = {"second": SpikingConv2d(3, 3), "first": SpikingConv2d(1, 3)}
            for name in order:
                self.add_module(name, layers[name])
            self.flatten, self.readout = Flatten(), Readout(48, 2)

        def forward(self, images):
            return self.readout(self.flatten(self.second(self.first(self.input(images)))))

    for order, notes in ((("first", "second"), 0), (("second", "first"), 1)):
        net = Late(order)
        quantize_(net, "1w2u")
        found = [note for note in lower(net.eval()).notes if "reads the input" in note]
        assert len(found) == notes
    assert found == [
        "first reads the input with 1-bit weights, while second, which is defined before it, has the 8 bits of an end; "
        "define first first"
    ]


def test_inside_of_inference_mode():
    net = ImageNet().eval()
    with torch.inference_mode():
        inside = lower(net)
    samples = images().numpy()
    assert np.array_equal(inside.predict(samples), lower(net).predict(samples))


def test_dark_pixels_count_in_the_bound_of_a_readout():
    net = nn.Sequential(ImageInput((3, 200, 200), mean=1.0, std=0.25, time_steps=3), Flatten(), Readout(120_000, 2))
    quantize_(net, "8w4u")
    with torch.no_grad():
        net[2].weight.fill_(1.0)
    with pytest.raises(ValueError, match=r"its sums over 3 steps can reach \d+, beyond 32 bits"):
        lower(net.eval())
