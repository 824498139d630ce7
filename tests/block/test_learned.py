"""Learned weight scales: where their parameters come from and go, what gradient they get, that files keep them."""

from dataclasses import replace

import pytest
import torch

from bitspike import QuantSpec, create_model, lower, quantize_, real_form
from bitspike.block import ConvSkip, Readout, SpikingConv2d, SpikingLinear, native
from bitspike.block.learned import learned_scales, put_weight_spec
from bitspike.quant import quantize_weight
from bitspike.spec import MembraneSpec, WeightSpec
from bitspike.train.config import TrainConfig
from bitspike.train.model_file import ModelHeader, load_model, save_model
from bitspike.train.optimizer import parameter_groups
from networks import ImageNet, images, settle_

LEARNED = {"bits": "4w4u", "weight": {"grid": "odd", "scale": "learned"}}
ALL = LEARNED | {"ends": {"grid": "odd", "scale": "learned"}}


def learned_net(table=ALL):
    return ImageNet(QuantSpec.from_dict(table))


def gammas(net):
    return {name: value for name, value in net.named_parameters() if name.endswith("gamma")}


def test_quantize_makes_one_parameter_a_scale_and_takes_it_away_again():
    net = learned_net()
    assert {name: tuple(value.shape) for name, value in gammas(net).items()} == {
        "first.weight_gamma": (5,),
        "second.weight_gamma": (5,),
        "readout.weight_gamma": (1,),
    }
    assert {id(value) for value in learned_scales(net)} == {id(value) for value in gammas(net).values()}
    before = {name: value.clone() for name, value in gammas(net).items()}
    with torch.no_grad():
        net.second.weight.mul_(3)
    quantize_(net, QuantSpec.from_dict(ALL))
    assert all(torch.equal(value, before[name]) for name, value in gammas(net).items())  # twice is once
    quantize_(net, QuantSpec.from_dict(ALL | {"bits": "3w4u"}))
    assert not torch.allclose(net.second.weight_gamma, before["second.weight_gamma"])  # found anew
    assert torch.equal(net.first.weight_gamma, before["first.weight_gamma"])
    quantize_(net, QuantSpec.from_dict(LEARNED))
    assert list(gammas(net)) == ["second.weight_gamma"]
    quantize_(net, "1w2u")
    assert gammas(net) == {}
    assert not any("gamma" in name for name in net.state_dict())


def test_it_starts_where_least_squares_is():
    net = learned_net()
    spec = replace(net.second.weight_spec, scale="mse")
    ours, fixed = net.second.quantized().main, quantize_weight(net.second.weight, spec)
    assert torch.equal(ours.codes, fixed.codes)
    assert torch.equal(ours.scale, fixed.scale)


def test_convolved_skips_have_a_scale_of_their_own_or_share_one():
    for norm, names in (("own", ["weight_gamma", "skip_weight_gamma"]), ("shared", ["weight_gamma"])):
        block = SpikingConv2d(3, 4, skip=ConvSkip(2, norm=norm))
        put_weight_spec(block, WeightSpec(bits=3, grid="odd", scale="learned"))
        block.membrane_spec = MembraneSpec(bits=4)
        assert [name for name, _ in block.named_parameters() if name.endswith("gamma")] == names
        block(torch.rand(2, 3, 3, 5, 5).round(), torch.rand(2, 3, 2, 5, 5).round()).sum().backward()
        assert all(bool(getattr(block, name).grad.abs().sum() > 0) for name in names)
        put_weight_spec(block, WeightSpec(bits=3))
        assert block.weight_gamma is block.skip_weight_gamma is None


def test_a_scale_asked_for_without_quantize_is_refused():
    block = SpikingLinear(3, 2)
    block.weight_spec = WeightSpec(bits=4, grid="odd", scale="learned")
    with pytest.raises(ValueError, match=r"no parameter for it; quantize_\(net, spec\) makes one"):
        block(torch.ones(1, 2, 3))


def test_behind_a_batch_norm_the_scale_itself_has_no_effect():
    """So its gradient is left out there: the gradient through the codes is all of it."""
    torch.manual_seed(0)
    block = SpikingConv2d(4, 6)
    block.norm.eps = 1e-12
    put_weight_spec(block, WeightSpec(bits=3, grid="odd", scale="learned"))
    value = (torch.rand(2, 8, 4, 6, 6) < 0.4).double()
    block.double()
    found = []
    for constant in (False, True):
        weights = block.quantized()
        weights = weights.with_constant_scale() if constant else weights
        real = weights.main.codes * weights.main.scale.reshape(-1, 1, 1, 1)
        sums = torch.nn.functional.conv2d(value.flatten(0, 1), real, None, 1, 1)
        current = block.norm(sums, batch=True)
        found.append(torch.autograd.grad((current * current.detach().sin()).sum(), block.weight_gamma)[0])
    assert torch.allclose(found[0], found[1], rtol=1e-6)
    assert float(found[0].abs().min()) > 0


@pytest.mark.parametrize("kind", ["no norm", "readout", "real form"])
def test_where_the_scale_counts_its_whole_gradient_arrives(kind):
    """Against d / d gamma of the real weight, codes * gamma / s, with each part of LSQ's gradient by hand."""
    torch.manual_seed(1)
    spec = WeightSpec(bits=3, grid="odd", scale="learned")
    block = Readout(6, 3) if kind == "readout" else SpikingLinear(6, 3, norm=kind == "real form")
    put_weight_spec(block, spec)
    value = torch.rand(2, 4, 6).round()
    direction = torch.randn(2, 4, 3)
    if kind == "readout":
        (block(value) * direction).sum().backward()
        w, gamma = block.weight.detach(), block.weight_gamma.detach()
        codes = block.quantized().codes.detach()
        inside = (w.abs() <= gamma).float()
        slope = codes / 7 - inside * w / gamma  # of the real weight
        expected = (slope * torch.einsum("tbc,tbf->cf", direction, value)).sum() / w.numel() ** 0.5
        assert torch.allclose(block.weight_gamma.grad, expected.reshape(1), rtol=1e-4)
        return
    block.in_real_form = kind == "real form"
    block.membrane_spec = MembraneSpec(bits=4, threshold=0.5)
    weights = block.quantized()
    assert weights.main.scale.requires_grad
    block(value).sum().backward()
    whole = block.weight_gamma.grad.clone()
    block.zero_grad()
    plain = type(block).quantized
    block.quantized = lambda: plain(block).with_constant_scale()
    block(value).sum().backward()
    assert not torch.allclose(whole, block.weight_gamma.grad, rtol=1e-2)


def test_a_readout_gives_the_same_gradient_in_the_real_form():
    net = Readout(6, 3, bias=False)
    put_weight_spec(net, WeightSpec(bits=4, grid="odd", scale="learned"))
    settle_(torch.nn.ModuleList([net]))
    value, direction = torch.rand(3, 5, 6).round(), torch.randn(3, 5, 3)
    found = []
    for in_real_form in (False, True):
        net.zero_grad()
        net.in_real_form = in_real_form
        (net(value) * direction).sum().backward()
        found.append((net.weight_gamma.grad.clone(), net.weight.grad.clone()))
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_training_moves_the_scales_and_every_form_follows():
    torch.manual_seed(0)
    net = learned_net()
    before = {name: value.detach().clone() for name, value in gammas(net).items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(images(16)).square().mean().backward()
        optimizer.step()
    assert all(not torch.equal(value, before[name]) for name, value in gammas(net).items())
    assert all(bool((block.quantized().main.scale > 0).all()) for block in (net.first, net.second))
    net.eval()
    with torch.no_grad():
        logits = net(images())
        with real_form(net):
            assert torch.equal(net(images()), logits)
    integer = lower(net)
    assert torch.equal(torch.from_numpy(integer.predict(images().numpy())).argmax(1), logits.mean(0).argmax(-1))


def test_kernels_and_torch_train_the_same_scale():
    net = learned_net()
    found = []
    start = {name: value.clone() for name, value in net.state_dict().items()}
    for plain in (False, True):
        net.load_state_dict(start)
        net.zero_grad()
        if plain:
            with native.plain():
                net(images(8)).square().mean().backward()
        else:
            net(images(8)).square().mean().backward()
        found.append({name: value.grad.clone() for name, value in gammas(net).items()})
    for name, ours in found[0].items():
        assert torch.allclose(ours, found[1][name], rtol=1e-3, atol=1e-6), name


def test_weight_decay_never_pulls_on_it():
    net = learned_net()
    for decay in ("all", "weights"):
        groups = parameter_groups(net, TrainConfig(decay=decay, weight_decay=0.1))
        pulled = {id(value) for group in groups if group["weight_decay"] for value in group["params"]}
        left = {id(value) for group in groups if not group["weight_decay"] for value in group["params"]}
        assert not pulled & {id(value) for value in gammas(net).values()}
        assert {id(value) for value in gammas(net).values()} <= left
        assert pulled | left == {id(value) for value in net.parameters()}


def test_a_model_file_keeps_it(tmp_path):
    net = create_model("small8", spec=QuantSpec.from_dict(ALL))
    with torch.no_grad():
        for value in gammas(net).values():
            value.mul_(0.7)
    options = {key: value for key, value in net.model_options.items() if key != "spec"}
    header = ModelHeader("small8", options, QuantSpec.from_dict(ALL).to_dict())
    save_model(net, tmp_path / "m.safetensors", header)
    again, _ = load_model(tmp_path / "m.safetensors")
    assert len(gammas(net)) == 3
    assert all(torch.equal(value, gammas(net)[name]) for name, value in gammas(again).items())
    samples = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(net.eval()(samples), again(samples))
    assert lower(net).graph.readout.weight == lower(again).graph.readout.weight


def test_networks_are_made_without_memory_too():
    with torch.device("meta"):
        net = create_model("small8", spec=QuantSpec.from_dict(ALL))
    assert all(value.is_meta for value in gammas(net).values())
