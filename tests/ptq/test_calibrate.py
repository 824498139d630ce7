import copy
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from bitspike import lower, quantize_
from bitspike.block import Flatten, ImageInput, Readout, SpikingLinear, recalibrate_
from bitspike.block.norm import ChannelNorm
from bitspike.block.spec_of import layer_states
from bitspike.neuron import lif_step
from bitspike.ptq import calibrate_
from bitspike.ptq.ranges import FACTORS, found_range, observed_potentials
from bitspike.quant import membrane_exponent, quantize_membrane
from bitspike.spec import MembraneSpec, QuantSpec
from networks import EventNet, ImageNet, images


def float_net(**membrane):
    net = ImageNet("32w32u")
    quantize_(net, QuantSpec(membrane=MembraneSpec(**membrane)))
    return net.eval()


def test_a_calibrated_network_lowers_and_keeps_its_neurons():
    net = float_net(leak=0.9, threshold=1.25, reset="soft")
    found = calibrate_(net, "4w4u", [images(32), images(32, seed=1)])
    membrane = net.second.membrane_spec
    assert (membrane.bits, membrane.threshold, membrane.reset) == (4, 1.25, "soft")
    assert found.leaks == {name: (Fraction(9, 10), Fraction(115, 128)) for name in ("first", "second")}
    assert found.batches == 2
    integers = lower(net).on("reference")
    samples = images(8, seed=2)
    with torch.no_grad():
        assert np.array_equal(integers.predict(samples.numpy()).argmax(1), net(samples).mean(0).argmax(1).numpy())


def test_the_description_alone_quantizes_another_copy_alike():
    net, other = float_net(), float_net()
    found = calibrate_(net, {"bits": "2w4u", "membrane": {"range": "mse"}}, [images(16)])
    quantize_(other, found.spec)
    assert layer_states(other) == layer_states(net)
    assert set(found.ranges) == {"first", "second"}


def test_statistics_are_those_of_the_quantized_sums_or_stay():
    net = float_net()
    before = copy.deepcopy(net.state_dict())
    calibrate_(net, "2w4u", [images(64)], statistics=False)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    calibrate_(net, "2w4u", [images(64)])
    sums = []
    net.eval()
    net.first.register_forward_hook(lambda module, operands, result: sums.append(operands[0]))
    net(images(64))
    codes, scale = net.first.quantized().main
    real = codes * scale.reshape(-1, 1, 1, 1) * net.first.input_scale
    total = torch.nn.functional.conv2d(sums[0][0], real, padding=1)
    norm = net.first.norm
    assert isinstance(norm, ChannelNorm)
    assert torch.allclose(norm.running_mean, total.mean((0, 2, 3)), atol=1e-4)
    assert torch.allclose(norm.running_var, total.var((0, 2, 3)), rtol=1e-3)


class Potentials(nn.Module):
    """Neurons whose potentials are known: pixel / 255 * weight with leak 1/2 over two steps."""

    def __init__(self, weights):
        super().__init__()
        self.input = ImageInput((1, 1, 1), mean=(0.0,), std=1.0, time_steps=2)
        self.flatten = Flatten()
        self.neurons = SpikingLinear(1, len(weights), norm=False)
        self.readout = Readout(len(weights), 2)
        self.neurons.weight.data = torch.tensor(weights).unsqueeze(1) / 255

    def forward(self, samples):
        return self.readout(self.neurons(self.flatten(self.input(samples))))


def test_observed_potentials_are_those_behind_the_reset():
    net = Potentials([0.5, 2.0, -4.0]).eval()
    found = observed_potentials(net, [torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)])
    # 0.5, 0.75; fires twice; -4, -6
    assert torch.allclose(found["neurons"], torch.tensor([[0.5, 0.75], [0.0, 0.0], [-4.0, -6.0]]))


def test_ranges_by_hand():
    net = Potentials([0.5, 1.0]).eval()
    quantize_(net, "8w4u")
    stored = torch.zeros(2, 5000)
    stored[0, 0], stored[1, 3] = -6.0, 5.0
    stored[0, 1:10] = 0.25
    assert found_range(net.neurons, "max", stored) == 6.0
    assert found_range(net.neurons, "percentile", stored) == 0.25  # 11 of 10,000 are not zero: the tenth largest
    assert found_range(net.neurons, "max", stored * 0) == 1.0  # stores nothing: the threshold


@pytest.mark.parametrize("rounding", ["nearest", "floor", "stochastic"])
def test_mse_has_the_least_error_of_all_it_tries(rounding):
    net = Potentials([0.5, 1.0, 0.3]).eval()
    quantize_(net, QuantSpec.from_dict({"bits": "8w3u", "membrane": {"rounding": rounding, "threshold": 0.5}}))
    stored = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.2], [1.0], [3.0]])
    found = found_range(net.neurons, "mse", stored)
    gain = net.neurons.channels(net.neurons.quantized()).gain

    def error(alpha):
        spec = MembraneSpec(bits=3, threshold=0.5, range=alpha, rounding=rounding)
        step = (gain * torch.exp2(membrane_exponent(gain, spec).double())).float().unsqueeze(1)
        noise = torch.full_like(stored, 0.5) if rounding == "stochastic" else None
        return float((quantize_membrane(stored, step, spec, noise) - stored).double().square().sum())

    assert error(found) == min(error(0.5 * factor) for factor in FACTORS)
    assert found != 0.5


def test_no_samples_no_calibration():
    with pytest.raises(ValueError, match="no samples were given"):
        calibrate_(float_net(), "4w4u", [])
    with pytest.raises(TypeError, match="one tensor; give a list of batches"):
        calibrate_(float_net(), "4w4u", images(4))
    found = calibrate_(EventNet("32w32u", norm=False).eval(), "4w4u", [])  # nothing to estimate
    assert found.batches == 0


def test_layers_that_are_not_understood_are_named():
    net = float_net()
    net.extra = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"modules that are no blocks, extra, whose values"):
        calibrate_(net, "4w4u", [images(4)])


def test_nothing_to_estimate_needs_no_samples():
    net, other = float_net(), float_net()
    other.load_state_dict(net.state_dict())
    calibrate_(net, "4w4u", statistics=False)
    calibrate_(other, "4w4u", [images(32)], statistics=False)
    samples = images(8, seed=2).numpy()
    assert np.array_equal(lower(net).predict(samples), lower(other).predict(samples))
    with pytest.raises(ValueError, match="no samples were given"):
        calibrate_(float_net(), "4w4u")
    with pytest.raises(ValueError, match="no samples were given"):
        calibrate_(float_net(), {"bits": "4w4u", "membrane": {"range": "max"}}, statistics=False)


def test_pairs_of_a_loader_are_named():
    with pytest.raises(TypeError, match=r"a batch is a tuple, not samples; of a DataLoader's pairs give the first"):
        calibrate_(float_net(), "4w4u", [(images(8), torch.zeros(8))])


@pytest.mark.parametrize(
    "batches", [[], [torch.zeros(2, 5, 9, 9, dtype=torch.uint8)], [images(8), images(8)[:, :, :3]]]
)
def test_samples_that_cannot_be_run_leave_the_network_as_it_was(batches):
    net = float_net(leak=0.9)
    before, states = copy.deepcopy(net.state_dict()), layer_states(net)
    for change in ("4w4u", {"bits": "2w4u", "membrane": {"range": "mse"}}):
        with pytest.raises((ValueError, RuntimeError)):
            calibrate_(net, change, batches)
        assert layer_states(net) == states
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_batches_without_samples_do_not_count_in_the_statistics():
    net = float_net()
    before = copy.deepcopy(net.state_dict())
    with pytest.raises(ValueError, match="batch 1 holds no samples"):
        recalibrate_(net, [images(8), images(8)[:0]])
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("own", [{"subtract": 2.0}, {"strict": True}])
def test_observed_potentials_are_what_the_neurons_own_reset_leaves(own):
    entrance = ImageInput((1, 1, 1), mean=0.0, std=1.0, time_steps=6)
    net = nn.Sequential(entrance, Flatten(), SpikingLinear(1, 1), Readout(1, 2))
    with torch.no_grad():
        net[2].weight.fill_(1.0)
    white = [torch.full((1, 1, 1, 1), 255, dtype=torch.uint8)]

    def observed(**membrane):
        quantize_(net.eval(), QuantSpec(membrane=MembraneSpec(bits=32, reset="soft", leak=0.5, **membrane)))
        return sorted(observed_potentials(net, white)["2"].flatten().tolist())

    current = observed(threshold=1e9)[0]
    own = {name: value * current if name == "subtract" else value for name, value in own.items()}
    found = observed(threshold=current, **own)
    potential, wanted = torch.zeros(1), []
    for _ in range(6):
        _, potential = lif_step(torch.full((1,), current), potential, net[2].membrane_spec)
        wanted.append(float(potential))
    assert found == pytest.approx(sorted(wanted), rel=1e-6)
    assert len({round(value / current, 3) for value in found}) > 2
