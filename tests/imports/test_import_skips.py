"""Residual blocks trained elsewhere: what is added before the neurons becomes a skip, with equal spikes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from sources import STEPS, answers, brought, check_integers, normalized, predictions
from torch import nn
from torch.nn import functional

from bitspike import create_model, import_nir, import_torch, lower
from bitspike.block import ConvSkip, PlainSkip
from bitspike.data import load
from bitspike.prune import prune_
from needed_tools import need_module

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")


class JellyBlock(nn.Module):
    """As SpikingJelly's own residual blocks: batch norms, the side path added before the second neurons."""

    def __init__(self, layer, inputs, outputs, stride, lif, early):
        super().__init__()
        self.conv1 = layer.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1, self.sn1 = layer.BatchNorm2d(outputs), lif()
        self.conv2 = layer.Conv2d(outputs, outputs, 3, 1, 1, bias=True)
        self.bn2, self.sn2 = layer.BatchNorm2d(outputs), lif()
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(layer.Conv2d(inputs, outputs, 1, stride), layer.BatchNorm2d(outputs))
        self.early = early

    def side(self, x):
        return x if self.down is None else self.down(x)

    def forward(self, x):
        if self.early:  # the side path runs first, and stands first
            side = self.side(x)
            return self.sn2(torch.add(side, self.bn2(self.conv2(self.sn1(self.bn1(self.conv1(x)))))))
        out = self.bn2(self.conv2(self.sn1(self.bn1(self.conv1(x)))))
        out += self.side(x)
        return self.sn2(out)


class JellyNet(nn.Module):
    def __init__(self, layer, lif, early):
        super().__init__()
        self.conv, self.bn, self.sn = layer.Conv2d(1, 8, 3, 1, 1), layer.BatchNorm2d(8), lif()
        self.a = JellyBlock(layer, 8, 8, 1, lif, early)
        self.b = JellyBlock(layer, 8, 16, 2, lif, early)
        self.pool, self.fc = layer.AdaptiveAvgPool2d(1), layer.Linear(16, 10)

    def forward(self, x):
        pooled = self.pool(self.b(self.a(self.sn(self.bn(self.conv(x))))))
        return self.fc(pooled.flatten(-3))


def jelly(mode, early, **options):
    neuron, layer, functions = (
        need_module(f"spikingjelly.activation_based.{part}") for part in ("neuron", "layer", "functional")
    )
    torch.manual_seed(0)
    net = JellyNet(layer, lambda: neuron.LIFNode(**options), early)
    functions.set_step_mode(net, mode)

    def run(x):
        functions.reset_net(net)
        if mode == "m":
            return net(x.expand(STEPS, *x.shape)).sum(0)
        return sum(net(x) for _ in range(STEPS))

    with torch.no_grad():  # batch norms as of a network at work; equal spikes need no training
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(-3, 3)
                part.bias.uniform_(0, 1)
        for part in normalized(load("digits", "train").subset(slice(160))).split(32):
            run(part)
    return net.eval(), run


@pytest.mark.parametrize(
    ("mode", "early", "options"),
    [
        ("m", False, {}),
        ("m", True, {"decay_input": False}),
        ("s", False, {"v_reset": None, "v_threshold": 0.6}),
        ("s", True, {"tau": 1.5, "v_reset": -0.2}),
    ],
)
def test_residual_blocks_of_spikingjelly(mode, early, options):
    source, run = jelly(mode, early, **options)
    test = load("digits", "test")
    net = brought(source)
    assert isinstance(net.a_conv2.skip, PlainSkip)
    assert net.b_conv2.skip == ConvSkip(8, 2, 1, "own")
    sources = {layer.name: layer.sources for layer in net.imported.layers}
    assert sources["a_conv2"] == ("a.conv2", "a.bn2", "a.sn2")
    assert sources["b_conv2"] == ("b.conv2", "b.bn2", "b.down.0", "b.down.1", "b.sn2")
    assert net.skips == {"a_conv2": "conv", "b_conv2": "a_conv2"}
    assert all(layer.compared.rate > 0.01 for layer in net.imported.layers if layer.compared)
    assert (answers(net, test) == predictions(run, test)).mean() > 0.99  # ties of float32
    check_integers(net, test)


def test_it_is_pruned_like_any_other():
    source, _ = jelly("m", False)
    net = brought(source)
    data = load("digits", "train").subset(slice(256))
    before = sum(value.numel() for value in net.parameters())
    prune_(net, data, ratios=0.5, batches=1)
    assert sum(value.numel() for value in net.parameters()) < 0.5 * before
    check_integers(net, load("digits", "test"))


class SnnNet(nn.Module):
    """With snnTorch's neurons, no batch norms, and a loop of its own; what is added depends on `way`."""

    def __init__(self, snn, way):
        super().__init__()
        self.way = way
        self.conv1, self.lif1 = nn.Conv2d(1, 6, 3, padding=1), snn.Leaky(beta=0.8)
        self.conv2, self.lif2 = nn.Conv2d(6, 6, 3, padding=1, bias=way != "side bias"), snn.Leaky(beta=0.7)
        self.side, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.fc, self.drop = nn.Linear(96, 10), nn.Dropout(0.5)
        with torch.no_grad():
            self.conv1.weight.mul_(4)
            self.norm.running_var.uniform_(0.2, 2)
            self.norm.running_mean.normal_()
            self.norm.weight.normal_()

    def added(self, spikes):
        main = self.conv2(spikes)
        match self.way:
            case "spikes":
                return self.drop(spikes) + main
            case "conv" | "side bias":
                return main + self.side(spikes)
            case "pooled":
                return functional.conv2d(main, torch.zeros(6, 6, 1, 1)) + main
            case "one norm":
                return self.norm(self.side(spikes)) + main
        raise ValueError(self.way)

    def forward(self, x):
        first, second = self.lif1.init_leaky(), self.lif2.init_leaky()
        counted = 0
        for _ in range(STEPS):
            spikes, first = self.lif1(self.conv1(x), first)
            spikes, second = self.lif2(self.added(spikes), second)
            counted += self.fc(functional.max_pool2d(spikes, 2).flatten(1))
        return counted


@pytest.mark.parametrize("way", ["spikes", "conv", "side bias", "one norm"])
def test_sums_without_batch_norms_or_with_one(way):
    snn = need_module("snntorch")
    torch.manual_seed(3)
    source = SnnNet(snn, way).eval()
    net = brought(source)
    skip = net.sequence[2][1].skip
    assert skip == (PlainSkip() if way == "spikes" else ConvSkip(6, 1, 3, "shared"))
    assert all(layer.compared.rate > 0.01 for layer in net.imported.layers if layer.compared)
    test = load("digits", "test")
    assert (answers(net, test) == predictions(source, test)).mean() > 0.99  # ties of float32
    check_integers(net, test)


def test_a_threshold_for_every_channel_goes_into_the_weights_of_both_ways():
    snn = need_module("snntorch")
    torch.manual_seed(4)
    source = SnnNet(snn, "conv")
    source.lif2.threshold = torch.linspace(0.5, 1.5, 6).reshape(6, 1, 1)
    assert brought(source).imported.layers[1].compared.rate > 0.01
    source.way = "spikes"
    with pytest.raises(ValueError, match=r"^lif2 has a gain or a threshold of its own for every channel, where spikes"):
        brought(source)


class Odd(nn.Module):
    """Sums that no skip is."""

    def __init__(self, snn, way):
        super().__init__()
        self.way = way
        self.a, self.lif_a = nn.Conv2d(1, 4, 3, padding=1), snn.Leaky(beta=0.5, init_hidden=True)
        self.b, self.lif_b = nn.Conv2d(4, 4, 3, padding=1), snn.Leaky(beta=0.5, init_hidden=True)
        self.c, self.lif_c = nn.Conv2d(4, 4, 3, padding=1), snn.Leaky(beta=0.5, init_hidden=True)
        self.one, self.wide = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, (1, 3), padding=(0, 1))
        self.norm, self.pool = nn.BatchNorm2d(4), nn.AvgPool2d(1, 1)
        self.fc, self.lif_fc = nn.Linear(256, 256), snn.Leaky(beta=0.5, init_hidden=True)
        with torch.no_grad():
            self.a.weight.mul_(3)

    def forward(self, x):
        spikes = self.lif_a(self.a(x))
        return getattr(self, self.way)(x, spikes)

    def sew(self, x, spikes):
        return self.lif_c(self.c(self.lif_b(self.b(spikes)) + spikes))

    def membrane(self, x, spikes):
        current = self.b(spikes)
        return self.lif_c(self.c(self.lif_b(current)) + current)

    def input(self, x, spikes):
        return self.lif_b(self.b(spikes) + self.one(x))

    def behind(self, x, spikes):
        return self.lif_b(self.norm(self.b(spikes) + spikes))

    def twice(self, x, spikes):
        return self.lif_c(self.c(self.lif_b(self.b(spikes))) + spikes + self.one(x))

    def half(self, x, spikes):
        return self.lif_b(self.b(spikes) + 0.5 * spikes)

    def window(self, x, spikes):
        return self.lif_b(self.b(spikes) + self.wide(spikes))

    def neurons(self, x, spikes):
        return self.lif_c(self.c(spikes) + self.lif_b(self.b(spikes)))

    def long(self, x, spikes):
        return self.lif_c(self.c(self.lif_b(self.b(spikes))) + self.pool(self.norm(self.wide(spikes))))

    def rows(self, x, spikes):
        rows = spikes.flatten(1)
        return self.lif_fc(self.fc(rows) + rows)

    def beside(self, x, spikes):
        self.lif_c(self.c(spikes))
        return self.lif_b(self.b(spikes))


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("sew", "the sum before c adds to spikes, so that counts go on, as in SEW"),
        ("membrane", "the sum before lif_c adds what b gives, which has not gone through neurons yet"),
        ("input", "the sum before lif_b adds the input, which is no spikes"),
        ("behind", "norm is a batch norm that does not stand right behind"),
        ("twice", "the sum before lif_c comes behind the sum before the sum"),
        ("half", r"\+ does not read what"),
        ("window", r"wide is on a side path with kernel \[1, 3\], stride \[1, 1\] and padding \[0, 1\]"),
        ("long", "wide is on a side path|pool is on a side path"),
        ("neurons", "the sum before lif_c adds to spikes"),
        ("rows", "the sum before lif_fc adds to rows"),
        ("beside", "(c|lif_c) gives what nothing on the way"),
    ],
)
def test_sums_that_are_no_skip_are_refused_by_name(way, said):
    snn = need_module("snntorch")
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=f"^({said})"):
        import_torch(Odd(snn, way), (1, 8, 8), 4, std=0.3)


def residual_graph(nir, side=True, **edges):
    rng = np.random.default_rng(0)

    def conv(outputs, inputs, kernel, padding, stride=1, size=(8, 8)):
        weight = rng.normal(size=(outputs, inputs, kernel, kernel)).astype("f4")
        return nir.Conv2d(size, weight, stride, padding, 1, 1, rng.normal(size=outputs).astype("f4"))

    def lif(*shape):
        values = {"tau": 2e-4, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.7, "v_reset": 0.0}
        return nir.LIF(**{key: np.full(shape, value, "f4") for key, value in values.items()})

    nodes = {
        "input": nir.Input({"input": np.array([1, 8, 8])}),
        "first": conv(4, 1, 3, 1),
        "lif1": lif(4, 8, 8),
        "main": conv(6 if side else 4, 4, 3, 1, 2 if side else 1),
        "lif2": lif(*((6, 4, 4) if side else (4, 8, 8))),
        "flat": nir.Flatten({"input": np.array([6, 4, 4] if side else [4, 8, 8])}, 0, -1),
        "last": nir.Linear(rng.normal(size=(10, 96 if side else 256)).astype("f4")),
        "output": nir.Output({"output": np.array([10])}),
    }
    wires = list(pairwise(nodes))
    if side:
        nodes["side"] = conv(6, 4, 1, 0, 2)
        wires += [("lif1", "side"), ("side", "lif2")]
    else:
        wires += [("lif1", "lif2")]
    return nir.NIRGraph(nodes, wires, type_check=False)


@pytest.mark.parametrize("side", [False, True])
def test_two_nodes_that_feed_one_are_a_skip(tmp_path, side):
    nir = need_module("nir")
    nir.write(tmp_path / "residual.nir", residual_graph(nir, side))
    net = import_nir(tmp_path / "residual.nir", 5)
    assert net.main.skip == (ConvSkip(4, 2, 1, "shared") if side else PlainSkip())
    assert all(layer.compared.rate > 0.01 for layer in net.imported.layers if layer.compared)
    check_integers(net, load("digits", "test"))


def test_graphs_that_are_no_chain_with_skips():
    nir = need_module("nir")
    for wires, said in (
        ([("lif2", "main")], "main is fed by lif1 and lif2; recurrences"),
        ([("first", "lif2")], "lif2 is fed by main and side and first; two can be added"),
        ([("input", "main")], "main is fed by lif1 and input, of shapes"),
        ([("last", "nowhere")], "nowhere is named by an edge"),
        ([("lif2", "input")], "input is in the middle of the graph"),
        ([("output", "side")], "output is in the middle of the graph"),
    ):
        graph = residual_graph(nir)
        graph.edges += wires
        with pytest.raises(ValueError, match=f"^{said}"):
            import_nir(graph, 4)
    graph = residual_graph(nir)
    graph.edges.remove(("side", "lif2"))
    with pytest.raises(ValueError, match=r"^side gives what nothing on the way"):
        import_nir(graph, 4)
    graph.edges.remove(("lif1", "side"))
    with pytest.raises(ValueError, match=r"^side is not on the way from"):
        import_nir(graph, 4)


CONV = {"kind": "conv", "channels": 4, "kernel": 3}
END = [{"kind": "flatten"}, {"kind": "readout"}]


@pytest.mark.parametrize(
    ("skip", "said"),
    [
        (3, "the skip of two is 3; give a table with from, kernel"),
        ({"from": "one", "scale": 2}, "the skip of two is .*'scale'"),
        ({"from": "two"}, "the skip of two is from 'two'; give one of one"),
        ({"stride": 2}, "the skip of two is from None; give one of one"),
        ({"from": "one", "stride": 2}, "two and its skip from one do not meet: .*maps"),
        ({"from": "one", "kernel": 1, "norm": "none"}, "ConvSkip.norm is 'none'"),
    ],
)
def test_wrong_skips_of_a_sequence_are_refused(skip, said):
    with pytest.raises(ValueError, match=said):
        create_model("sequence", layers=[{**CONV, "name": "one"}, {**CONV, "name": "two", "skip": skip}, *END])


def test_a_sequence_with_skips_by_hand():
    """Two blocks whose spikes are known: what joins them is what the table names."""
    unit = {"kind": "conv", "channels": 1, "kernel": 1, "norm": False}
    skip = {"from": "one"}
    layers = [{**unit, "name": "one", "input_scale": 1 / 255}, {**unit, "name": "two"}]
    net = create_model("sequence", layers=[*layers, {**unit, "name": "three", "skip": skip}, *END]).eval()
    with torch.no_grad():
        for block, weight in ((net.one, 4.0), (net.two, 0.0), (net.three, 0.0)):
            block.weight.fill_(weight)
        net.readout4.weight.fill_(1.0)
        images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
        images[0, 0, 2, :3] = 255
        logits = net(images)
    assert logits.shape == (4, 1, 10)
    assert torch.equal(logits[0, 0], torch.full((10,), 3.0))  # spikes of `one` join `three`; `two` is silent
    assert lower(create_model("sequence", spec="1w2u", layers=[*layers, *END]).eval()).graph.spiking
