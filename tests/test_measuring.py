import numpy as np
import pytest
import torch
from torch import nn

from bitspike import QuantSpec, lower, measure, quantize_
from bitspike.block import ConvSkip, EventInput, Flatten, ImageInput, MaxPool, Readout, SpikingConv2d, SumPool
from bitspike.integer.graph import PlainSkip
from bitspike.measuring import activity, describe, firing_rates, narrowest
from networks import EventNet, ImageNet, events, images, settle_


def test_rows_of_a_known_network():
    rows = {row.name: row for row in describe(ImageNet("1w4u"))}
    assert list(rows) == ["first", "second", "readout"]
    first, second, readout = rows.values()
    assert (first.kind, first.end, first.static_input) == ("conv", True, True)
    assert (first.weights, first.weight_bits, first.neurons, first.membrane_bits) == (90, 8, 180, 4)
    assert first.macs == 90 * 36
    assert (second.weights, second.weight_bits, second.norms, second.static_input) == (225, 1, 5, False)
    assert (readout.kind, readout.weights, readout.biases, readout.neurons, readout.macs) == ("readout", 180, 4, 0, 180)
    assert first.input_rate is None
    assert second.input_rate is None


def test_float_networks_are_described_too():
    rows = describe(ImageNet(None))
    assert [row.weight_bits for row in rows] == [32, 32, 32]
    assert [row.integer_bytes for row in rows] == [0, 0, 0]


def test_integer_bytes_are_those_of_the_lowered_network():
    net = ImageNet("1w4u")
    rows = describe(net)
    for row, node in zip(rows, lower(net).graph.spiking, strict=False):
        tables = (node.fire.threshold, node.fire.rounding, node.fire.shift)
        assert row.integer_bytes == sum(narrowest(table) for table in tables)
    assert isinstance(lower(net).graph.spiking[1].skip, PlainSkip)


@pytest.mark.parametrize(
    ("values", "size"), [([127, -128], 2), ([128, 0], 4), ([-129], 2), ([32_767, -32_768], 4), ([32_768], 4), ([], 0)]
)
def test_narrowest(values, size):
    assert narrowest(np.array(values, np.int32)) == size


def test_firing_rates_are_the_means_of_the_integer_spikes():
    net = ImageNet("1w4u").train()
    net.first.eval()
    batches = [images(4), images(2, 1)]
    rates = firing_rates(net, batches)
    assert (net.training, net.first.training, net.second.training) == (True, False, True)
    spikes = lower(net).spikes(torch.cat(batches).numpy())
    assert rates["first"].result == pytest.approx(spikes["first"].mean())
    assert rates["second"].source == rates["first"].result
    assert rates["second"].skip == rates["first"].result
    assert rates["second"].result == pytest.approx(spikes["second"].mean())
    assert rates["readout"].source == pytest.approx(spikes["pool"].mean())
    assert rates["first"].skip is None
    assert 0.05 < rates["second"].result < 0.95


def test_rates_reach_the_rows():
    net = ImageNet("1w4u")
    rates = firing_rates(net, [images()])
    first, second, readout = describe(net, rates)
    assert first.input_rate is None  # pixels are no spikes
    assert first.output_rate == rates["first"].result
    assert second.input_rate == rates["first"].result
    assert readout.input_rate == rates["readout"].source
    table = measure(net, [images()])
    assert table.time_steps == 3
    assert table.rows[1].output_rate == second.output_rate


def test_no_samples_are_refused():
    net = ImageNet()
    with pytest.raises(ValueError, match="no samples were given"):
        firing_rates(net, [])
    with pytest.raises(ValueError, match="no samples were given"):
        measure(net, [images()[:0]])
    assert net.training


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.input = EventInput((2, 4, 4), bound=3, time_steps=3)
        self.conv = SpikingConv2d(2, 2)
        self.joined = SpikingConv2d(2, 4, skip=ConvSkip(2, norm="own"))
        self.flatten = Flatten()
        self.readout = Readout(64, 3)
        settle_(self)
        quantize_(self, "4w4u")

    def forward(self, value):
        counts = self.input(value)
        spikes = self.conv(self.conv(counts))
        return self.readout(self.flatten(self.joined(spikes, counts)))


def test_a_block_that_runs_twice_has_a_rate_in_both_rows_and_a_skip_a_row_of_its_own():
    net = Twice()
    rows = {row.name: row for row in describe(net, firing_rates(net, [events()]))}
    assert list(rows) == ["conv", "conv#2", "joined", "joined.skip", "readout"]
    assert rows["conv"].output_rate == rows["conv#2"].output_rate
    assert rows["conv"].output_rate is not None
    assert rows["joined.skip"].kind == "skip"
    assert rows["joined.skip"].weights == 8
    assert rows["joined.skip"].norms == 4
    assert rows["joined.skip"].input_rate == pytest.approx(float(events().float().mean()))


def test_activity_counts_signs_of_codes():
    net = EventNet("1w4u")
    with torch.no_grad():
        net.conv.weight.abs_()
    quantize_(net, "4w4u")
    (conv,) = activity(net, firing_rates(net, [events()]))
    assert conv.name == "conv"
    rate = lower(net).spikes(events().numpy())["conv"].mean()
    assert conv.firing_rate == pytest.approx(rate)


def test_rows_carry_the_levels_that_weights_use():
    net = ImageNet(QuantSpec.from_dict({"bits": "2w4u", "weight": {"grid": "odd", "scale": "unit"}}))
    with torch.no_grad():
        net.second.weight.clamp_(-0.6, 0.6)  # only the two codes in the middle
        net.second.norm.weight[0] = -1.0
        net.second.weight[0].abs_()
    first, second, readout = describe(net)
    assert (second.levels, second.levels_used, second.utilization) == (4, 2, 0.5)
    a = float(net.second.weight.detach().double().abs().quantile(0.99))
    assert second.utilization_estimate == pytest.approx((min(a, 1) * 3 + 1) / 4, abs=0.02)
    assert (first.levels, readout.levels) == (255, 255)
    assert first.levels_used == len(np.unique(lower(net).graph.spiking[0].operator.weight.codes))
    assert [row.utilization for row in describe(ImageNet(None))] == [None] * 3


def test_a_skip_has_levels_of_its_own():
    rows = {row.name: row for row in describe(Twice())}
    assert rows["joined.skip"].levels == 15
    assert 0 < rows["joined.skip"].levels_used <= 8
    assert 0 < rows["joined.skip"].utilization_estimate <= 1


class Behind(nn.Module):
    """Pixels reach the first layer, its skip and the readout through pools and Flatten."""

    def __init__(self, *, layer: bool = True):
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=3)
        self.pool = SumPool(2)
        self.most = MaxPool(3)
        self.flatten = Flatten()
        self.conv = SpikingConv2d(2, 4, skip=ConvSkip(2)) if layer else None
        self.readout = Readout(36 if layer else 2, 3)
        settle_(self)
        quantize_(self, "4w4u")

    def forward(self, value):
        pooled = self.pool(self.input(value))
        value = self.most(pooled) if self.conv is None else self.conv(pooled, pooled)
        return self.readout(self.flatten(value))


def test_pixels_stay_pixels_behind_pools_and_flatten():
    dark = torch.zeros(2, 2, 6, 6, dtype=torch.uint8)  # below the mean: no rate of spikes is negative
    table = measure(Behind(), [dark])
    seen = {row.name: (row.static_input, row.input_rate is None) for row in table.rows}
    assert seen == {"conv": (True, True), "conv.skip": (True, True), "readout": (False, False)}
    assert table.operations.multiplications == 9 * (2 * 4 * 9 + 2 * 4)
    assert table.energy is not None
    (readout,) = measure(Behind(layer=False), [dark]).rows
    assert (readout.static_input, readout.input_rate) == (True, None)


def test_open_time_is_that_of_the_batches():
    net, known = EventNet(time_steps=None, bias=False), EventNet(time_steps=3, bias=False)
    table = measure(net, [events(3), events(3, seed=1)])
    assert table.time_steps == 3
    assert table.operations == measure(known, [events(3), events(3, seed=1)]).operations
    assert str(table).startswith("EventNet, T = 3, one image")
    for batches in (None, [events(3), events(2)]):
        one = measure(net, batches)
        assert (one.time_steps, one.to_dict()["time_steps"]) == (None, None)
        assert str(one).startswith("EventNet, one step of any number\n")
        assert one.operations.dense * 3 == table.operations.dense
