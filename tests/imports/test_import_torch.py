"""Networks trained in snnTorch and SpikingJelly: the same spikes, the same answers, and then integers."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from sources import (
    MEAN,
    STD,
    STEPS,
    answers,
    brought,
    check_integers,
    normalized,
    predictions,
    snntorch_net,
    spikingjelly_net,
)
from torch import nn
from torch.nn import functional

from bitspike import create_model, import_torch, lower
from bitspike.block import SpikingBlock, blocks_of
from bitspike.data import load
from bitspike.prune import prunable_channels, prune_
from bitspike.ptq import calibrate_
from bitspike.spec import MembraneSpec, QuantSpec, nearest_leak
from bitspike.train import evaluate, read_recipe, train_recipe
from bitspike.train.model_file import ModelHeader, load_model, save_model
from needed_tools import need_module

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")


def test_a_network_of_snntorch(tmp_path):
    source, run = snntorch_net()
    test = load("digits", "test")
    wanted = predictions(run, test)
    assert (wanted == test.labels).mean() > 0.8
    net = brought(source)
    assert np.array_equal(answers(net, test), wanted)

    conv, linear, readout = net.imported.layers
    assert (conv.name, conv.sources) == ("conv0", ("0", "1", "2"))
    assert (linear.name, linear.sources) == ("linear6", ("6", "7"))
    assert conv.membrane == net.conv0.membrane_spec
    assert conv.membrane.strict
    assert conv.membrane.subtract == pytest.approx(1 / 0.9)
    assert conv.leak_to_round
    assert conv.compared.decisions > 100_000
    assert conv.compared.ties < 10
    assert conv.compared.rate > 0.02
    assert readout.membrane is None
    assert net.imported.ignored == ("5",)
    assert torch.equal(net.conv0.weight, source[0].weight)
    assert torch.equal(net.conv0.norm.running_var, source[1].running_var)

    spec = QuantSpec.from_dict(net.model_options["spec"])
    options = {key: value for key, value in net.model_options.items() if key != "spec"}
    save_model(net, tmp_path / "net.safetensors", ModelHeader("sequence", options, spec.to_dict()))
    again, _ = load_model(tmp_path / "net.safetensors")
    assert np.array_equal(answers(again, test), wanted)
    assert again.conv0.membrane_spec == net.conv0.membrane_spec
    before = evaluate(net, test).accuracy
    check_integers(net, test)
    assert net.conv0.membrane_spec.leak == Fraction(115, 128)
    assert net.conv0.membrane_spec.subtract == pytest.approx(128 / 115)
    assert evaluate(net, test).accuracy > before - 0.08


def test_a_network_of_spikingjelly():
    source, run = spikingjelly_net(tau=2.0, v_reset=None)
    test = load("digits", "test")
    wanted = predictions(run, test)
    assert (wanted == test.labels).mean() > 0.8
    net = brought(source)
    assert np.array_equal(answers(net, test), wanted)
    conv, linear, _ = net.imported.layers
    assert conv.membrane == MembraneSpec(reset="soft")  # leak 1/2, >= 1
    assert linear.membrane == MembraneSpec(leak=Fraction(1))
    assert not conv.leak_to_round
    assert net.linear5.input_scale == 0.25  # of the average pool
    assert net.readout.weight.shape == (10, 20)
    check_integers(net, test)
    assert net.conv0.membrane_spec.leak == Fraction(1, 2)


@pytest.mark.parametrize(
    "leaky",
    [
        {"reset_mechanism": "zero"},
        {"reset_mechanism": "zero", "reset_delay": False},
        {"reset_mechanism": "none"},
        {"reset_mechanism": "subtract", "reset_delay": True, "threshold": 0.7},
        {"beta": 1.0},
        {"threshold": torch.linspace(0.3, 1.4, 6).reshape(6, 1, 1)},
    ],
)
def test_every_reset_of_snntorch(leaky):
    snn = need_module("snntorch")
    torch.manual_seed(3)
    leaky = {"beta": 0.75, **leaky}
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3), snn.Leaky(init_hidden=True, **leaky), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(54, 7)
    )
    report = import_torch(net, (1, 8, 8), 7, mean=0.2, std=0.25).imported
    assert report.layers[0].compared.rate > 0
    assert report.layers[0].compared.ties == 0


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize(
    "make",
    [
        lambda n: n.IFNode(v_threshold=0.6),
        lambda n: n.IFNode(v_reset=-0.5),
        lambda n: n.IFNode(v_reset=None),
        lambda n: n.LIFNode(tau=3.0),
        lambda n: n.LIFNode(tau=1.1, decay_input=False, v_reset=None),
        lambda n: n.LIFNode(tau=2.0, v_reset=0.25, v_threshold=0.75),
        lambda n: n.ParametricLIFNode(init_tau=2.5, decay_input=False),
    ],
)
def test_every_neuron_of_spikingjelly(make, mode):
    neuron = need_module("spikingjelly.activation_based.neuron")
    layer = need_module("spikingjelly.activation_based.layer")
    functional = need_module("spikingjelly.activation_based.functional")
    torch.manual_seed(4)
    net = nn.Sequential(layer.Conv2d(2, 5, 3), layer.BatchNorm2d(5), make(neuron), layer.Flatten(), layer.Linear(80, 3))
    net[1].running_var.uniform_(0.2, 0.5)
    net[1].weight.data.normal_()
    net[1].weight.data[0] = 0.0  # a dead channel: our gains stay above a floor
    functional.set_step_mode(net, mode)
    report = import_torch(net, (2, 6, 6), 5, bound=3).imported
    assert report.layers[0].compared.rate > 0
    assert report.layers[0].compared.ties <= 5 * 7 * 16  # all of the dead channel at most


class Loop(nn.Module):
    """As snnTorch's tutorials write it: a loop over time in forward, with membranes passed by hand."""

    def __init__(self, snn):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(64, 30), snn.Leaky(beta=0.95)
        self.fc2, self.lif2 = nn.Linear(30, 10), snn.Leaky(beta=0.5)

    def forward(self, x):
        first, second = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for _ in range(STEPS):
            fired, first = self.lif1(self.fc1(x.flatten(1)), first)
            fired, second = self.lif2(self.fc2(fired), second)
            spikes.append(fired)
        return torch.stack(spikes)


def test_a_forward_with_a_loop_of_its_own():
    snn = need_module("snntorch")
    torch.manual_seed(0)
    source = Loop(snn)
    net = import_torch(source, (1, 8, 8), STEPS)
    assert [layer.sources for layer in net.imported.layers] == [("fc1", "lif1"), ("fc2", "lif2"), ()]
    test = load("digits", "test")
    with torch.no_grad():
        wanted = source(torch.from_numpy(test.inputs).float() / 255).sum(0)
        ours = net(torch.from_numpy(test.inputs)).sum(0)
    assert torch.equal(ours, wanted)


def test_average_pooling_before_the_neurons_goes_into_the_convolution():
    snn = need_module("snntorch")
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=1, padding=1),
        nn.AvgPool2d(2),
        nn.BatchNorm2d(4),
        snn.Leaky(beta=0.5, init_hidden=True),
        nn.Flatten(),
        nn.Linear(64, 5),
    )
    found = import_torch(net, (1, 8, 8), 4, std=0.2)
    assert found.conv0.weight.shape == (4, 1, 4, 4)
    assert found.conv0.window.stride == (2, 2)


class Tutorial(nn.Module):
    """As snnTorch's tutorials write a network: functions pool the sums, a loop makes the time steps."""

    def __init__(self, snn):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 6, 3), snn.Leaky(beta=0.5)
        self.conv2, self.norm, self.lif2 = nn.Conv2d(6, 9, 2), nn.BatchNorm2d(9), snn.Leaky(beta=0.5)
        self.fc1, self.lif3 = nn.Linear(9, 5), snn.Leaky(beta=0.5)

    def forward(self, x):
        first, second, third = (lif.init_leaky() for lif in (self.lif1, self.lif2, self.lif3))
        spikes = []
        for _ in range(STEPS):
            one, first = self.lif1(functional.max_pool2d(self.conv1(x), 2), first)
            sums = functional.max_pool2d(self.norm(self.conv2(one)), kernel_size=(2, 2), stride=1)
            two, second = self.lif2(sums, second)
            three, third = self.lif3(self.fc1(two.view(len(x), -1)), third)
            spikes.append(three)
        return torch.stack(spikes)


def test_max_pooling_before_the_neurons():
    """Also behind a batch norm that turns signs around, which the pool behind it does not mind."""
    snn = need_module("snntorch")
    torch.manual_seed(9)
    source = Tutorial(snn)
    with torch.no_grad():
        source.conv1.weight.mul_(4)
        source.norm.weight.copy_(torch.tensor([1.5, -1.5, 0.7, -0.4, 2.0, 0.0, 1.0, -1.0, 1.0]))
        source.norm.running_var.uniform_(0.05, 0.2)
        source.fc1.weight.mul_(3)
    data = load("digits", "train")
    samples = data.inputs[:50]
    net = import_torch(source, (1, 8, 8), STEPS, mean=MEAN, std=STD, samples=samples)
    assert net.imported.layers[0].sources == ("conv1", "F.max_pool2d", "lif1")
    assert net.imported.layers[1].sources == ("conv2", "norm", "F.max_pool2d", "lif2")
    assert net.conv1.largest == ((2, 2), (2, 2))
    assert net.conv2.largest == ((2, 2), (1, 1))
    assert all(layer.compared.rate > 0.02 for layer in net.imported.layers[:3])
    with torch.no_grad():
        counts = source.eval()(normalized(data.subset(slice(50)))).sum(0)
        ours = net.eval()(torch.from_numpy(samples)).sum(0)
    assert torch.equal(ours.float(), counts)
    check_integers(net, load("digits", "test"))
    assert any(node.operator.largest for node in lower(net).graph.spiking)


class Beside(nn.Module):
    """A net whose forward pools at other places too."""

    def __init__(self, snn, where):
        super().__init__()
        self.where = where
        self.conv, self.lif1 = nn.Conv2d(1, 4, 3), snn.Leaky(beta=0.5)
        self.fc, self.lif2 = nn.Linear(36, 5), snn.Leaky(beta=0.5)
        with torch.no_grad():
            self.conv.weight.mul_(3)

    def forward(self, x):
        first, second = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, seen = [], []
        if self.where == "changes nothing":
            x = functional.avg_pool2d(x, 1)
        if self.where == "before the loop":
            x = functional.avg_pool2d(functional.interpolate(x, scale_factor=2), 2)
        if self.where == "unused":
            functional.avg_pool2d(x, 2)
        for _ in range(STEPS):
            pooled = functional.max_pool2d(self.conv(x), 2, return_indices=True)[0].clone()
            one, first = self.lif1(pooled, first)
            two, second = self.lif2(self.fc(one.flatten(1)), second)
            spikes.append(two)
            seen.append(one)
        if self.where == "behind the loop":
            functional.adaptive_avg_pool2d(torch.stack(seen).mean(0), 1)
        return torch.stack(spikes), functional.adaptive_avg_pool2d(one, 1)


@pytest.mark.parametrize("where", ["nowhere", "changes nothing", "unused", "behind the loop"])
def test_pooling_beside_the_chain_is_none_of_it(where):
    snn = need_module("snntorch")
    torch.manual_seed(1)
    net = import_torch(Beside(snn, where), (1, 8, 8), STEPS, std=0.3)
    assert [layer.sources for layer in net.imported.layers] == [("conv", "F.max_pool2d", "lif1"), ("fc", "lif2"), ()]


def test_pooling_before_the_time_loop_is_refused_for_what_it_is():
    snn = need_module("snntorch")
    torch.manual_seed(1)
    with pytest.raises(ValueError, match=r"^F\.avg_pool2d does not run once in every time step"):
        import_torch(Beside(snn, "before the loop"), (1, 8, 8), STEPS, std=0.3)


@pytest.mark.parametrize(
    ("pool", "features", "kind"),
    [
        (nn.MaxPool2d(3, 2, 1), 36, "max"),
        (nn.AvgPool2d(3, 2, 1), 36, "sum"),
        (nn.AvgPool2d((2, 3), 1, (1, 0)), 4 * 7 * 4, "sum"),
        (nn.AdaptiveAvgPool2d((3, 2)), 24, "sum"),
    ],
)
def test_pools_that_reach_beyond_the_map_or_adapt_to_it(pool, features, kind):
    snn = need_module("snntorch")
    torch.manual_seed(3)
    lif = snn.Leaky(beta=0.5, init_hidden=True)
    source = nn.Sequential(
        nn.Conv2d(1, 4, 3), lif, pool, nn.Flatten(), nn.Linear(features, 20), snn.Leaky(0.9, init_hidden=True)
    )
    with torch.no_grad():
        source[0].weight.mul_(3)
        source[4].weight.mul_(3)
    net = brought(source)
    assert all(layer.compared.rate > 0.01 for layer in net.imported.layers[:2])
    check_integers(net, load("digits", "test").subset(slice(100)))
    assert next(node.kind for node in lower(net).graph.nodes if type(node).__name__ == "Pool") == kind


def test_an_adaptive_pool_to_the_size_of_the_map_is_nothing():
    snn = need_module("snntorch")
    torch.manual_seed(3)
    lif = snn.Leaky(beta=0.5, init_hidden=True)
    net = brought(
        nn.Sequential(nn.Conv2d(1, 4, 3), lif, nn.AdaptiveAvgPool2d((6, 6)), nn.Flatten(), nn.Linear(144, 10))
    )
    assert net.imported.ignored == ("2",)


def test_a_norm_behind_a_max_pool_goes_into_weights():
    """As a norm of the block it would follow the batch's sums, not their maxima, when the network trains further."""
    snn = need_module("snntorch")
    torch.manual_seed(10)
    conv, norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.1, 1)
        norm.weight.copy_(torch.tensor([0.0, 0.5, 1.0, 2.0]))
    pooled = nn.Sequential(
        conv, nn.MaxPool2d(2), norm, snn.Leaky(beta=0.5, init_hidden=True), nn.Flatten(), nn.Linear(36, 5)
    )
    net = import_torch(pooled, (1, 8, 8), 4, std=0.2)
    unit = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
    assert net.conv0.norm is None
    assert torch.allclose(net.conv0.weight, conv.weight * unit.reshape(-1, 1, 1, 1))
    assert torch.allclose(net.conv0.bias, (conv.bias - norm.running_mean) * unit + norm.bias, atol=1e-6)
    samples = torch.from_numpy(load("digits", "train").inputs[:50])
    with torch.no_grad():
        assert torch.equal(net.train()(samples), net.eval()(samples))


def test_colours_of_different_deviation():
    snn = need_module("snntorch")
    torch.manual_seed(6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 20), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(20, 5))
    found = import_torch(net, (3, 4, 4), 4, mean=(0.2, 0.4, 0.6), std=(0.2, 0.3, 0.25))
    assert "rounded" not in " ".join(found.imported.notes)  # 51, 102 and 153
    assert torch.equal(found.linear1.weight[:, :16], net[1].weight[:, :16])
    assert torch.allclose(found.linear1.weight[:, 16:32], net[1].weight[:, 16:32] * (0.2 / 0.3))


def test_the_source_is_left_as_it_was():
    snn = need_module("snntorch")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 9), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(9, 3)).train()
    net(torch.rand(2, 1, 8, 8)).sum().backward()  # leaves a membrane that hangs on a graph
    membrane = net[2].mem
    import_torch(net, (1, 8, 8), 3)
    assert net.training
    assert net[2].mem is membrane
    assert net[1].weight.dtype == torch.float32


def chain(*middle, features=144):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *middle, nn.Flatten(), nn.Linear(features, 5))


def falling(channels):
    norm = nn.BatchNorm2d(channels)
    nn.init.constant_(norm.weight, -0.5)
    return norm


def refusals():
    def lif(snn, **options):
        return snn.Leaky(beta=options.pop("beta", 0.5), init_hidden=True, **options)

    return {
        "2 is a ReLU": lambda snn, jelly: chain(lif(snn), nn.ReLU()),
        "1 is a Synaptic, whose synaptic current": lambda snn, jelly: chain(
            snn.Synaptic(alpha=0.5, beta=0.5, init_hidden=True), lif(snn)
        ),
        "1 pools whole maps or rows between": lambda snn, jelly: chain(nn.AdaptiveAvgPool2d(1), lif(snn), features=4),
        "2 pools what 1 pooled": lambda snn, jelly: chain(nn.MaxPool2d(2), nn.AvgPool2d(2), lif(snn), features=4),
        "2 has a negative gain behind a max pool": lambda snn, jelly: chain(
            nn.MaxPool2d(2), falling(4), lif(snn), features=36
        ),
        "1 has a beta of its own": lambda snn, jelly: chain(lif(snn, beta=torch.rand(4, 1, 1))),
        "1 has a threshold of its own for every neuron": lambda snn, jelly: chain(
            lif(snn, threshold=torch.rand(4, 6, 6))
        ),
        "1 has beta 0": lambda snn, jelly: chain(lif(snn, beta=0.0)),
        "1 has state_quant or inhibition": lambda snn, jelly: chain(lif(snn, inhibition=True)),
        "0 is a convolution with groups 1, dilation": lambda snn, jelly: nn.Sequential(
            nn.Conv2d(1, 4, 3, dilation=2), lif(snn)
        ),
        "3 follows 0 with no spiking neurons|1 follows 0 with no": lambda snn, jelly: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), lif(snn)
        ),
        "2 is a batch norm that does not stand": lambda snn, jelly: chain(lif(snn), nn.BatchNorm2d(4)),
        "2 has no Conv2d or Linear": lambda snn, jelly: chain(lif(snn), lif(snn)),
        "0 pools the input": lambda snn, jelly: nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(1, 4, 3), lif(snn)),
        "holds no spiking neurons": lambda snn, jelly: chain(),
        "1 takes the statistics of every batch": lambda snn, jelly: chain(
            nn.BatchNorm2d(4, track_running_stats=False), lif(snn)
        ),
        "1 pools with padding between weights and neurons": lambda snn, jelly: chain(nn.MaxPool2d(3, 1, 1), lif(snn)),
        "2 pools with ceil_mode": lambda snn, jelly: chain(lif(snn), nn.MaxPool2d(2, ceil_mode=True), features=36),
        "2 averages with padding that does not count": lambda snn, jelly: chain(
            lif(snn), nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        ),
        r"2 pools maps of \[6, 6\] to \[4, 6\]": lambda snn, jelly: chain(
            lif(snn), nn.AdaptiveAvgPool2d((4, None)), features=96
        ),
    }


@pytest.mark.parametrize("said", refusals())
def test_what_has_no_equal_is_refused_by_name(said):
    snn = need_module("snntorch")
    with pytest.raises(ValueError, match=f"^(the network )?({said})"):
        import_torch(refusals()[said](snn, None), (1, 8, 8), 4)


class Shared(nn.Module):
    def __init__(self, snn):
        super().__init__()
        self.a, self.b, self.lif = nn.Linear(64, 64), nn.Linear(64, 64), snn.Leaky(beta=0.5, init_hidden=True)

    def forward(self, x):
        return self.lif(self.b(self.lif(self.a(x.flatten(1)))))


class Biased(nn.Module):
    """Whose neurons do not do what their class does."""

    def __init__(self, snn):
        super().__init__()
        self.a, self.lif = nn.Linear(64, 64), snn.Leaky(beta=0.5, init_hidden=True)
        self.lif.fire = lambda mem: (mem > 0.8).double()

    def forward(self, x):
        return self.lif(self.a(x.flatten(1)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Shared, "lif is used at two places"),
        (Biased, r"lif differs from the source in \d+ of \d+ spikes"),
    ],
)
def test_networks_that_are_no_chain_or_do_something_else(kind, said):
    snn = need_module("snntorch")
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=f"^{said}"):
        import_torch(kind(snn), (1, 8, 8), 4, std=0.3)


def test_a_forward_that_needs_states_says_what_to_do():
    snn = need_module("snntorch")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), snn.Leaky(beta=0.5), nn.Linear(5, 5), snn.Leaky(beta=0.5))
    with pytest.raises(ValueError, match=r"did not run 4 time steps in any way.*init_hidden=True"):
        import_torch(net, (1, 8, 8), 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"time_steps": 0}, "time_steps is 0"),
        ({"mean": (0.1, 0.2)}, "give one number, or one for each of 1 colours"),
        ({"mean": "grey"}, "mean is 'grey'; give a number"),
        ({"bound": 300}, "bound is 300; give the largest count, a whole number from 1 to 255"),
        ({"bound": -1}, "bound is -1"),
        ({"bound": 3.0}, r"bound is 3\.0"),
        ({"bound": 3, "mean": 0.1}, "leave them out beside a bound"),
        ({"bound": 3, "samples": np.full((3, 4, 1, 8, 8), 4, np.uint8)}, "samples reach 4, above the bound 3"),
        ({"samples": np.zeros((4, 1, 9, 8), np.uint8)}, "samples have the shape"),
        ({"samples": np.zeros((1, 1, 8, 8), np.uint8)}, "give two samples or more"),
        ({"input_shape": (2, 8, 8)}, "did not run"),
    ],
)
def test_wrong_arguments_are_refused(options, said):
    snn = need_module("snntorch")
    arguments = {"input_shape": (1, 8, 8), "time_steps": 3, **options}
    with pytest.raises((ValueError, TypeError), match=said):
        import_torch(nn.Sequential(nn.Conv2d(1, 2, 3), snn.Leaky(beta=0.5, init_hidden=True)), **arguments)
    with pytest.raises(TypeError, match="takes a torch module"):
        import_torch("net", (1, 8, 8), 3)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("8w8u", {"leak": Fraction(115, 128), "subtract": 2.0 / (115 / 128), "threshold": 2.0}),
        ({"bits": "8w8u", "membrane": {"leak": "1/2"}}, {"leak": Fraction(1, 2), "subtract": 4.0}),
        ({"bits": "8w8u", "membrane": {"reset": "hard"}}, {"reset": "hard", "subtract": None}),
        ({"bits": "8w8u", "membrane": {"subtract": 0}}, {"subtract": 0.0}),
    ],
)
def test_a_reset_behind_the_leak_stays_behind_a_leak_that_is_rounded(change, expected):
    late = {"leak": "9/10", "reset": "soft", "threshold": 2.0, "subtract": 2 / 0.9}
    net = create_model("sequence", spec={"membrane": late})
    calibrate_(net, change, [], statistics=False)
    spec = net.linear1.membrane_spec
    assert {name: getattr(spec, name) for name in expected} == expected


def test_normalized_inputs_are_those_that_blocks_see():
    data = load("digits", "test")
    net = create_model("sequence", mean=[MEAN], std=STD)
    with torch.no_grad():
        ours = net.input(torch.from_numpy(data.inputs))[0] / (255 * STD)
    assert torch.allclose(ours, normalized(data), atol=1e-6)


class Looping(nn.Module):
    """Makes five time steps at a call; gives: what it returns of spikes and membranes."""

    def __init__(self, snn, gives=lambda spikes, membranes: spikes):
        super().__init__()
        self.fc, self.lif, self.gives = nn.Linear(64, 10), snn.Leaky(beta=0.5), gives

    def forward(self, x):
        membrane, spikes, membranes = self.lif.init_leaky(), [], []
        for _ in range(5):
            fired, membrane = self.lif(self.fc(x.flatten(1)), membrane)
            spikes.append(fired)
            membranes.append(membrane)
        return self.gives(torch.stack(spikes), torch.stack(membranes))


@pytest.mark.parametrize(
    ("gives", "is_noted"),
    [
        (lambda spikes, membranes: spikes, False),
        (lambda spikes, membranes: (spikes, membranes), False),
        (lambda spikes, membranes: {"spikes": [spikes.transpose(0, 1)]}, False),
        (lambda spikes, membranes: spikes.sum(0), False),
        (lambda spikes, membranes: spikes.mean(0), False),
        (lambda spikes, membranes: membranes, True),
        (lambda spikes, membranes: membranes[-1], True),
    ],
)
def test_classes_that_the_source_reads_from_something_else_than_spikes(gives, is_noted):
    snn = need_module("snntorch")
    torch.manual_seed(0)
    net = import_torch(Looping(snn, gives), (1, 8, 8), 5)
    assert any("classes are read from spike counts here" in note for note in net.imported.notes) == is_noted


@pytest.mark.parametrize("steps", [1, 4, 10])
def test_another_number_of_steps_than_the_module_makes_is_named(steps):
    snn = need_module("snntorch")
    with pytest.raises(ValueError, match=f"^the network runs its layers 5 times at a call, and time_steps is {steps};"):
        import_torch(Looping(snn), (1, 8, 8), steps)


@pytest.mark.parametrize("number", [np.float32(0.25), np.array(0.25), np.array([0.25]), torch.tensor(0.25)])
def test_numbers_of_numpy_and_torch(number):
    snn = need_module("snntorch")
    net = import_torch(Looping(snn), (1, 8, 8), np.int64(5), mean=number, std=number)
    assert net.model_options["mean"] == [0.25]
    assert net.model_options["std"] == 0.25
    assert net.model_options["time_steps"] == 5
    assert create_model("small8", mean=number).input.zero_point == (64,)


@pytest.mark.parametrize("options", [{"std": 0}, {"std": float("nan")}, {"mean": float("inf")}])
def test_pixels_are_normalized_by_numbers(options):
    snn = need_module("snntorch")
    with pytest.raises(ValueError, match="give numbers, and a std above 0"):
        import_torch(Looping(snn), (1, 8, 8), 5, **options)


def test_weights_that_are_no_numbers_are_named():
    snn = need_module("snntorch")
    source = Looping(snn)
    with torch.no_grad():
        source.fc.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"^fc holds numbers that are NaN or infinite"):
        import_torch(source, (1, 8, 8), 5)


def test_neurons_that_hold_modules_are_named_themselves():
    snn, neuron = need_module("snntorch"), need_module("spikingjelly.activation_based.neuron")
    recurrent = snn.RLeaky(beta=0.5, linear_features=5, init_hidden=True)
    with pytest.raises(ValueError, match=r"^3 is a RLeaky, which feeds its spikes back"):
        import_torch(nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(144, 5), recurrent), (1, 8, 8), 4)
    with pytest.raises(ValueError, match=r"^1 is a EIFNode, which bitspike cannot import"):
        import_torch(nn.Sequential(nn.Conv2d(1, 4, 3), neuron.EIFNode()), (1, 8, 8), 4)


def test_classes_that_are_neurons_stay_when_channels_go():
    snn = need_module("snntorch")
    torch.manual_seed(0)
    net = brought(nn.Sequential(nn.Flatten(), nn.Linear(64, 32), leaky(snn), nn.Linear(32, 10), leaky(snn)))
    assert prunable_channels(net) == {"linear1": 32}
    prune_(net, ratios=0.5, criterion="magnitude")
    assert net.linear3.out_channels == 10
    assert net.linear1.out_channels == 16
    alone = brought(nn.Sequential(nn.Flatten(), nn.Linear(64, 10), leaky(snn)))
    with pytest.raises(ValueError, match="the neurons of linear1 are the classes, which stay"):
        prune_(alone, ratios=0.5, criterion="magnitude")


def leaky(snn):
    return snn.Leaky(beta=0.5, init_hidden=True)


def test_further_training_keeps_the_neurons_unless_it_names_others(tmp_path):
    """A recipe's short form speaks of bits; leaks, thresholds and resets are the network's own."""
    source, _ = spikingjelly_net(v_threshold=0.6, v_reset=None, tau=1.5)
    net = brought(source)
    own = {name: block.membrane_spec for name, block in blocks_of(net) if isinstance(block, SpikingBlock)}
    options = {key: value for key, value in net.model_options.items() if key != "spec"}
    save_model(net, tmp_path / "net.safetensors", ModelHeader("sequence", options, net.model_options["spec"]))
    recipe = tmp_path / "further.toml"
    data = '[data]\nname = "digits"\ntime_steps = 6\n[train]\nepochs = 1\n'
    text = 'start = "{}"\nquant = {}\n[model]\nname = "sequence"\n' + data
    file = (tmp_path / "net.safetensors").as_posix()
    recipe.write_text(text.format(file, '"4w4u"'))
    result = train_recipe(read_recipe(recipe), out=tmp_path / "kept")
    found = {name: block for name, block in blocks_of(result.net) if isinstance(block, SpikingBlock)}
    for name, membrane in own.items():
        there = found[name].membrane_spec
        assert there.bits == 4
        assert (there.reset, there.threshold) == (membrane.reset, membrane.threshold)
        assert there.leak == nearest_leak(membrane.leak)
    again = train_recipe(read_recipe(recipe), out=tmp_path / "kept")  # it is the same run
    assert again.header.provenance["identity"] == result.header.provenance["identity"]
    recipe.write_text(text.format(file, '{ bits = "4w4u", membrane = { leak = "3/4" } }'))
    result = train_recipe(read_recipe(recipe), out=tmp_path / "named")
    leaks = {block.membrane_spec.leak for _, block in blocks_of(result.net) if isinstance(block, SpikingBlock)}
    assert leaks == {Fraction(3, 4)}
