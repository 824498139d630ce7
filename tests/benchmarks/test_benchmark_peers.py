from dataclasses import replace

import numpy as np
import pytest
import torch

from _inference import participants
from _inference.cases import CASES, Prepared
from _inference.layers import layers_of
from _inference.participants import PEERS, Peers, floats, folded
from _inference.torch_networks import NETWORKS, SpikingConv, lif, settle_
from _shared.environment import PeerMissingError
from bitspike import lower
from bitspike.integer.graph import PlainSkip
from bitspike.model import create_model
from networks import EventNet, ImageNet, events, images

MODELS = {"resnet19": "resnet19", "mnist": "small28", "vggsnn": "vggsnn"}


@pytest.mark.parametrize("name", MODELS)
def test_the_torch_peer_is_the_same_network(name):
    """As many parameters and the same convolutions as the registered model."""
    with torch.device("meta"):
        ours, theirs = create_model(MODELS[name]), NETWORKS[name]()
    ours_shapes = sorted(tuple(p.shape) for p in ours.parameters())
    assert ours_shapes == sorted(tuple(p.shape) for p in theirs.parameters())


@pytest.mark.parametrize("once", [False, True])
def test_a_static_first_layer_may_be_convolved_once(once):
    torch.manual_seed(0)
    net = NETWORKS["mnist"](repeat_first=not once).eval()
    settle_(net)
    torch.manual_seed(1)
    with torch.no_grad():
        logits = net(torch.randn(2, 1, 28, 28))
    assert logits.shape == (2, 10)
    torch.manual_seed(0)
    other = NETWORKS["mnist"](repeat_first=once).eval()
    settle_(other)
    torch.manual_seed(1)
    with torch.no_grad():
        assert torch.allclose(logits, other(torch.randn(2, 1, 28, 28)), atol=1e-5)


def test_lif_leaks_fires_and_is_reset():
    current = torch.tensor([0.6, 0.6, 0.5, 1.2, 0.5]).reshape(5, 1)
    # 0.6; 0.9; 0.95; 1.675 fires; 0.5 from rest
    assert lif(current).ravel().tolist() == [0, 0, 0, 1, 0]


def test_the_peers_layers_fire():
    net = NETWORKS["mnist"]().eval()
    settle_(net)
    rates = []
    for module in net.modules():
        if isinstance(module, SpikingConv):
            module.register_forward_hook(lambda _module, _operands, result: rates.append(float(result.mean())))
    with torch.no_grad():
        net(torch.randn(1, 1, 28, 28))
    assert len(rates) == 2
    assert all(0.01 < rate < 0.9 for rate in rates)


def test_layers_are_read_off_the_graph():
    layers = layers_of(lower(create_model("resnet19", spec="1w2u")).graph)
    sums = [layer for layer in layers if layer["kind"] == "sum"]
    assert len(sums) == 17
    assert sum("weight" in layer.get("skip", {}) for layer in sums) == 2
    assert sum("skip" in layer for layer in sums) == 8
    window = {"stride": [1, 1], "padding": [1, 1]}
    assert sums[0] == {"kind": "sum", "name": "first", "source": "input", "weight": [128, 3, 3, 3]} | window
    assert [layer["kind"] for layer in layers[-3:]] == ["sum pool", "flatten", "readout"]
    multiplications = sum(np.prod(layer["weight"]) for layer in layers if "weight" in layer)
    assert multiplications > 12_000_000


def test_skips_that_the_int8_peer_does_not_know_are_refused():
    graph = lower(ImageNet()).graph
    nodes = [
        replace(node, skip=PlainSkip(node.skip.source, 2, None, 1)) if getattr(node, "skip", None) else node
        for node in graph.nodes
    ]
    with pytest.raises(ValueError, match="second: the int8 peer knows plain skips without stride"):
        layers_of(replace(graph, nodes=tuple(nodes)))


def prepared(graph, samples):
    return Prepared(CASES[4], graph, path=None, samples=samples, rates={"a": 0.1, "b": 0.3}, note="")


def test_images_stand_in_the_batch_once_per_step():
    found = prepared(lower(ImageNet()).graph, images(4).numpy()[:, None])
    values = folded(found, 3)
    assert values.shape == (4, 3, 2, 6, 6)
    assert np.array_equal(values[:, 0], values[:, 2])
    assert np.array_equal(values[:, 0], floats(found)[:, 0])
    assert found.batch.shape == (4, 2, 6, 6)
    assert np.array_equal(found.batch[1], found.samples[1, 0])
    assert found.rate == 0.2


def test_events_stand_in_the_batch_step_by_step():
    counts = np.ascontiguousarray(events(3, 2).numpy().swapaxes(0, 1)[:, :, None])  # [N, T, 1, C, H, W]
    found = prepared(lower(EventNet()).graph, counts)
    assert folded(found, 3).shape == (2, 3, 2, 4, 4)
    assert np.array_equal(folded(found, 3)[1, 2], counts[1, 2, 0])
    assert np.array_equal(folded(found, 1)[:, 0], counts[:, 0, 0])
    assert found.batch.shape == (3, 2, 2, 4, 4)
    assert np.array_equal(found.batch[2, 1], counts[1, 2, 0])


def test_peers_that_cannot_be_had_are_missing_not_fatal(monkeypatch):
    asked = []

    def ensure(group, packages, say):
        asked.append(group)
        raise PeerMissingError(f"{group}: no network")

    monkeypatch.setattr(participants, "ensure", ensure)
    told = []
    peers = Peers(told.append)
    found = prepared(lower(ImageNet()).graph, images(1).numpy()[:, None])
    assert peers.start(found) == {}
    assert peers.start(found) == {}
    assert list(peers.missing) == list(PEERS)
    assert peers.missing["ort-int8-ann-T1"] == "onnxruntime: no network"
    assert sorted(asked) == ["onnxruntime", "torch"]  # tried once, not for every network
