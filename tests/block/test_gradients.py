"""The training form beside the real and the integer form: the same membrane step, the same spikes, close gradients."""

from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from torch import nn

from bitspike import QuantSpec
from bitspike.block import ConvSkip, Form, SpikingConv2d, blocks_of, native, quantize_, real_form
from bitspike.block.training import float_spikes
from bitspike.spec import MembraneSpec, WeightSpec
from networks import ImageNet, images, settle_


def frozen(spec):
    """The training form of a network with running statistics, to compare with the real form."""
    net = ImageNet(spec).eval()

    def spikes(block):
        block.compute = lambda *operands: float_spikes(block, *block.operands(operands), batch=False)

    for block in (net.first, net.second):
        spikes(block)
    return net


SPECS = {
    "1w2u": QuantSpec.parse("1w2u"),
    "4w4u": QuantSpec.parse("4w4u"),
    "soft": replace(QuantSpec.parse("1w4u"), membrane=MembraneSpec(bits=4, reset="soft", leak=Fraction(7, 8))),
    "floor": replace(QuantSpec.parse("2w3u"), membrane=MembraneSpec(bits=3, rounding="floor", range=2.0)),
}


@pytest.mark.parametrize("name", SPECS)
def test_training_form_on_running_statistics_fires_like_the_integer_form(name):
    real, training = ImageNet(SPECS[name]).eval(), frozen(SPECS[name])
    for block in (training.first, training.second):
        assert block.form is Form.INTEGER  # but computes its float form, above
    value = real.input(images(16))
    first = real.first(value)
    assert 0.05 < float(first.mean()) < 0.95
    assert torch.equal(training.first(value), first)
    assert torch.equal(training.second(first, first), real.second(first, first))


@pytest.mark.parametrize("name", SPECS)
def test_gradients_of_the_real_form_are_the_training_forms(name):
    real, training = ImageNet(SPECS[name]), frozen(SPECS[name])
    weights = torch.randn(3, 8, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    with real_form(real):
        (real(images(8)) * weights).sum().backward()
    # The readout's own float form, so that gradients pass.
    codes, scale = training.readout.quantized()
    value = training.input(images(8))
    first = training.first(value)
    second = training.flatten(training.pool(training.second(first, first)))
    logits = nn.functional.linear(second, codes * scale.unsqueeze(1), training.readout.bias)
    (logits * weights).sum().backward()
    theirs = dict(training.named_parameters())
    for place, ours in real.named_parameters():
        gradient = ours.grad
        assert gradient is not None
        assert bool(gradient.isfinite().all()), place
        assert float(gradient.abs().max()) > 0, place
        assert torch.allclose(gradient, theirs[place].grad, rtol=1e-3, atol=1e-4 * float(gradient.abs().max())), place


@pytest.mark.parametrize("norm", ["shared", "own"])
def test_gradients_reach_a_convolved_skip(norm):
    block = SpikingConv2d(3, 4, skip=ConvSkip(2, norm=norm))
    settle_(block)
    block.weight_spec, block.membrane_spec = WeightSpec(bits=4), MembraneSpec(bits=4)
    value, skip = (torch.rand(2, 5, c, 4, 4).round().requires_grad_() for c in (3, 2))
    for form in (True, False):
        block.zero_grad()
        block.in_real_form = form
        block(value, skip).sum().backward()
        for place, parameter in block.named_parameters():
            if form and place == "skip_norm.weight":
                continue  # its gain is a power of two times the main one's
            assert float(parameter.grad.abs().sum()) > 0, (place, form)
        assert float(skip.grad.abs().sum()) > 0


@pytest.mark.parametrize("norm", ["shared", "own"])
def test_training_form_of_a_convolved_skip_fires_like_the_integer_form(norm):
    torch.manual_seed(2)
    block = SpikingConv2d(3, 6, skip=ConvSkip(2, norm=norm)).eval()
    settle_(block)
    with torch.no_grad():
        block.norm.running_var.uniform_(0.5, 3)
        if block.skip_norm is not None:
            block.skip_norm.running_var.uniform_(0.01, 3)
            block.skip_norm.weight[0] = -0.7
    block.weight_spec, block.membrane_spec = WeightSpec(bits=3), MembraneSpec(bits=4)
    value, skip = torch.rand(3, 8, 3, 5, 5).round(), torch.rand(3, 8, 2, 5, 5).round()
    ours = block(value, skip)
    assert 0.05 < float(ours.mean()) < 0.95
    with torch.no_grad():
        assert torch.equal(float_spikes(block, value, skip, batch=False), ours)


@pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")
def test_the_training_membrane_uses_the_integer_forms_step():
    net = ImageNet("4w3u").eval()
    from bitspike import lower

    fire = lower(net).graph.spiking[0].fire
    channels = net.first.channels(net.first.quantized())
    assert channels.exponent.tolist() == [fire.g - int(shift) for shift in fire.shift]
    seen = []
    from bitspike.block import training

    plain = training.lif
    try:
        training.lif = lambda current, spec, given: seen.append(given) or plain(current, spec, given)
        with native.plain():
            net.train()(images())
    finally:
        training.lif = plain
    # The statistics are those that this very pass has left.
    channels = net.first.channels(net.first.quantized())
    step = channels.gain * torch.exp2(channels.exponent.double())
    assert torch.equal(seen[0].flatten(), step.float())


def test_frozen_statistics_are_trained_on_and_stay():
    net = ImageNet()
    before = net.first.norm.running_mean.clone()
    with real_form(net):
        net.train()(images()).sum().backward()
    assert torch.equal(net.first.norm.running_mean, before)
    net.train()(images())
    assert not torch.equal(net.first.norm.running_mean, before)


def test_float_network_evaluates_with_running_statistics():
    net = ImageNet(None).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    logits = net(images())
    assert logits.dtype == torch.float32
    assert torch.equal(net(images()[:1]), logits[:, :1]) or torch.allclose(net(images()[:1]), logits[:, :1], atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_annealing_changes_the_gradient_and_not_the_value():
    from bitspike.block import set_progress_

    net = ImageNet("1w4u")
    grads, values = [], []
    for progress in (0.0, 1.0):
        net.zero_grad()
        set_progress_(net, progress)
        assert {block.progress for name, block in blocks_of(net) if name in ("first", "second", "readout")} == {
            progress
        }
        with real_form(net):
            logits = net(images())
        logits.square().sum().backward()
        values.append(logits.detach())
        grads.append(net.second.weight.grad.clone())
    assert torch.equal(*values)
    assert not torch.allclose(*grads)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="allowed: 0 to 1"):
            set_progress_(net, wrong)


def test_the_dynamic_membrane_trains_and_evaluates_in_float():
    spec = replace(QuantSpec.parse("1w2u"), membrane=MembraneSpec(bits=2, form="dynamic"))
    net = ImageNet(None)
    quantize_(net, spec)
    net(images()).sum().backward()
    assert float(net.first.weight.grad.abs().sum()) > 0
    net.eval()
    assert [net.first.form, net.readout.form] == [Form.FLOAT, Form.INTEGER]
    assert set(net.first(net.input(images())).unique().tolist()) == {0.0, 1.0}
