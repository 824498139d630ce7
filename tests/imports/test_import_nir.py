"""NIR graphs and files: the same spikes as NIR's equations give, whatever a step of time is."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from sources import MEAN, STD, STEPS, predictions, snntorch_net

from bitspike import import_nir, lower
from bitspike.data import load
from bitspike.imports.nir_nodes import Clock
from bitspike.imports.nir_reference import run_node
from bitspike.ptq import calibrate_
from needed_tools import need_module

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")


def lif(nir, shape, *, tau=2e-4, r=2.0, v_leak=0.0, v_threshold=0.7, v_reset=0.0, number="f4"):
    values = {"tau": tau, "r": r, "v_leak": v_leak, "v_threshold": v_threshold, "v_reset": v_reset}
    return nir.LIF(**{name: np.broadcast_to(np.asarray(value, number), shape).copy() for name, value in values.items()})


def conv(nir, rng, outputs=4, inputs=1, size=(8, 8), **options):
    wanted = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, **options}
    weight = rng.normal(size=(outputs, inputs, 3, 3)).astype("f4")
    return nir.Conv2d(input_shape=size, weight=weight, bias=rng.normal(size=outputs).astype("f4"), **wanted)


def graph_of(nir, *nodes, shape=(1, 8, 8)):
    return nir.NIRGraph.from_list([nir.Input({"input": np.array(shape)}), *nodes], type_check=False)


def deep(nir, seed=0, **neuron):
    rng = np.random.default_rng(seed)
    return graph_of(
        nir,
        conv(nir, rng),
        lif(nir, (4, 8, 8), **neuron),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        nir.Affine(rng.normal(size=(20, 64)).astype("f4") * 0.3, rng.normal(size=20).astype("f4")),
        nir.IF(r=np.full(20, 1e4), v_threshold=np.linspace(0.5, 2, 20), v_reset=np.zeros(20)),
        nir.Linear(rng.normal(size=(10, 20)).astype("f4")),
    )


@pytest.mark.parametrize("integration", ["euler", "exponential"])
@pytest.mark.parametrize("reset", ["hard", "soft", "delayed"])
def test_a_file_gives_the_spikes_of_its_equations(tmp_path, reset, integration):
    nir = need_module("nir")
    nir.write(tmp_path / "net.nir", deep(nir))
    net = import_nir(str(tmp_path / "net.nir"), 5, reset=reset, integration=integration)
    first, second, readout = net.imported.layers
    assert first.sources == ("conv2d", "lif")
    assert second.sources == ("affine", "if")
    assert readout.sources == ("linear",)
    assert 0 < first.compared.rate < 1
    assert 0 < second.compared.rate < 1
    assert first.membrane.strict
    assert first.membrane.reset == ("hard" if reset == "hard" else "soft")
    if integration == "euler":
        assert first.membrane.leak == Fraction(1, 2)  # what float32 seconds stand for
    assert second.membrane.leak == 1
    assert second.membrane.threshold == 1  # every channel's own is in the weights


def test_quantized_it_is_integers_like_any_other():
    nir = need_module("nir")
    net = import_nir(deep(nir), 5, reset="delayed")
    calibrate_(net, "8w8u", [])
    assert net.conv2d.membrane_spec.subtract == pytest.approx(1.4)
    integer = lower(net)
    samples = torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8)
    logits = integer.predict(samples.numpy())
    assert np.array_equal(integer.on("reference").predict(samples.numpy()), logits)
    with torch.no_grad():
        assert np.array_equal(net(samples).mean(0).argmax(1).numpy(), logits.argmax(1))


@pytest.mark.parametrize(
    "neuron",
    [
        {"tau": 1e-3, "r": 10.0, "number": "f8"},
        {"v_leak": 0.2},
        {"v_leak": -0.3, "v_reset": -0.3},
        {"v_threshold": np.linspace(0.2, 1.1, 4).reshape(4, 1, 1)},
        {"r": np.linspace(0.5, 3, 4).reshape(4, 1, 1)},
        {"r": -1.0},
    ],
)
def test_every_parameter_of_a_neuron(neuron):
    nir = need_module("nir")
    for reset in ("hard", "soft", "delayed"):
        net = import_nir(deep(nir, **neuron), 6, reset=reset)
        assert net.imported.layers[0].compared.ties < 20


def test_a_graph_in_the_words_of_snntorch():
    """The nodes that snnTorch's export writes for a trained network: dt 0.0001, r = tau / dt, its own reset."""
    nir = need_module("nir")
    source, run = snntorch_net()
    unit = source[1].weight / torch.sqrt(source[1].running_var + source[1].eps)
    weight = (source[0].weight * unit.reshape(-1, 1, 1, 1)).detach().numpy()  # it writes no batch norm
    bias = ((source[0].bias - source[1].running_mean) * unit + source[1].bias).detach().numpy()

    def leaky(module, shape):
        beta = module.beta.detach().numpy()
        tau = 1e-4 / (1 - beta)
        return lif(nir, shape, tau=tau, r=tau / 1e-4, v_threshold=module.threshold.numpy())

    graph = graph_of(
        nir,
        nir.Conv2d((8, 8), weight, 1, 1, 1, 1, bias),
        leaky(source[2], (8, 8, 8)),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([8, 4, 4])}, 0, -1),
        nir.Affine(source[6].weight.detach().numpy(), source[6].bias.detach().numpy()),
        leaky(source[7], (10,)),
    )
    source[3] = torch.nn.AvgPool2d(2)  # NIR has no max pooling
    test = load("digits", "test")
    samples = load("digits", "train").inputs[:40]
    net = import_nir(graph, STEPS, reset="delayed", mean=MEAN, std=STD, samples=samples)
    assert net.conv2d.membrane_spec.leak == Fraction(9, 10)
    with torch.no_grad():
        ours = net(torch.from_numpy(test.inputs)).sum(0).argmax(1).numpy()
    assert (ours == predictions(run, test)).mean() > 0.99  # the batch norm was folded in float32


def test_the_interpreter_by_hand():
    nir = need_module("nir")
    node = lif(nir, (1,), tau=2.0, r=1.0, v_threshold=1.0, number="f8")
    current = torch.tensor([3.0, 0.0, 2.0, 2.0]).double().reshape(4, 1, 1)
    spikes = {reset: run_node("n", node, current, Clock(1.0, "euler", reset)) for reset in ("hard", "soft", "delayed")}
    # v: 1.5 fires; hard 0, 0, 1.0 (not above), 1.5; soft .5, .25, 1.125, ...; delayed 1.5, -.25, .875, 1.4375
    assert spikes["hard"].flatten().tolist() == [1, 0, 0, 1]
    assert spikes["soft"].flatten().tolist() == [1, 0, 1, 1]
    assert spikes["delayed"].flatten().tolist() == [1, 0, 0, 1]


def refused(nir):
    rng = np.random.default_rng(0)
    cuba = nir.CubaLIF(*(np.ones(10) for _ in range(5)))
    cross = deep(nir)
    cross.edges.append(("if", "affine"))
    return {
        "cubalif is a CubaLIF, whose synaptic": graph_of(nir, nir.Linear(np.ones((10, 4))), cuba, shape=(4,)),
        "affine is fed by flatten and if|if feeds": cross,
        "conv2d has groups 2": graph_of(nir, conv(nir, rng, 4, 1, groups=2), lif(nir, (4, 8, 8))),
        "lif has a tau of its own": graph_of(
            nir, conv(nir, rng), lif(nir, (4, 8, 8), tau=np.linspace(1e-4, 1e-3, 4).reshape(4, 1, 1))
        ),
        "lif has tau 1e-05, which is no leak": graph_of(nir, conv(nir, rng), lif(nir, (4, 8, 8), tau=1e-5)),
        "lif is reset to another value": graph_of(nir, conv(nir, rng), lif(nir, (4, 8, 8), v_reset=0.2)),
        "lif has a threshold of its own for every": graph_of(
            nir, conv(nir, rng), lif(nir, (4, 8, 8), v_threshold=np.linspace(0.5, 1, 8))
        ),
        "delay is a Delay": graph_of(nir, conv(nir, rng), nir.Delay(np.ones((4, 8, 8)))),
        "li is a LI, whose potential": graph_of(nir, conv(nir, rng), nir.LI(*(np.ones((4, 8, 8)),) * 3)),
    }


def test_what_has_no_equal_is_refused_by_name():
    nir = need_module("nir")
    for said, graph in refused(nir).items():
        with pytest.raises(ValueError, match=f"^({said})"):
            import_nir(graph, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"dt": 0}, "dt is 0"), ({"reset": "none"}, "reset is 'none'"), ({"integration": "rk4"}, "integration is 'rk4'")],
)
def test_wrong_arguments_are_refused(options, said):
    nir = need_module("nir")
    with pytest.raises(ValueError, match=said):
        import_nir(deep(nir), 4, **options)


def test_what_is_no_file(tmp_path):
    need_module("nir")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_nir(tmp_path / "none.nir", 4)
    (tmp_path / "bad.nir").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a readable NIR file"):
        import_nir(tmp_path / "bad.nir", 4)
    with pytest.raises(TypeError, match="takes a file or a graph"):
        import_nir(3, 4)
