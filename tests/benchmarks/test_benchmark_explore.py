import json
import sys

import numpy as np
import pytest
import torch

import explore as benchmark
from _exploring.fake_quant import FakeQuantNet, evaluate_fake, fake_membrane, fake_weight
from bitspike import create_model
from bitspike.data import Dataset
from bitspike.quant import quantize_weight
from bitspike.spec import WeightSpec


def settled():
    torch.manual_seed(0)
    net = create_model("small28", spec="32w32u", widths=(4, 6), mean=[0.4], std=0.25).eval()
    for block in (net.conv1, net.conv2):
        block.norm.bias.data.fill_(0.4)
        block.norm.running_mean.data.normal_(0, 0.2)
    return net


def images(count):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28)).astype(np.uint8))


def peer_of(net):
    return FakeQuantNet(dict(net.state_dict()), 4, net.input.zero_point[0] / 255, 0.25).eval()


def test_the_peer_is_the_same_network():
    net, peer = settled(), peer_of(settled())
    peer.membrane_bits = 24  # as good as float
    with torch.no_grad():
        assert torch.allclose(peer(images(8)), net(images(8)).mean(0), atol=1e-3)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_its_weights_are_ours(bits):
    weight = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(bits))
    codes, scale = quantize_weight(weight, WeightSpec(bits=bits))
    assert torch.allclose(fake_weight(weight, bits), codes * scale.reshape(-1, 1, 1, 1))
    codes, scale = quantize_weight(weight, WeightSpec(bits=bits, per="layer"))
    assert torch.allclose(fake_weight(weight, bits, per_layer=True), codes * scale[0])


def test_its_membrane_by_hand():
    stored = fake_membrane(torch.tensor([0.5, 0.49, -0.5, -3.0, 0.9]), 2)
    assert stored.tolist() == [1.0, 0.0, 0.0, -1.0, 1.0]


def test_a_candidate_leaves_the_peer_as_it_was():
    net = settled()
    peer = peer_of(net)
    before = {name: value.clone() for name, value in peer.state_dict().items()}
    batches = iter([(images(6).numpy(), np.arange(6, dtype=np.int64))])
    assert 0 <= evaluate_fake(peer, 4, 4, 8, [images(8)], batches) <= 1
    assert all(torch.equal(value, before[name]) for name, value in peer.state_dict().items())


def test_the_program_ends_with_one_object(monkeypatch, capsys, tmp_path):
    labels = np.arange(64, dtype=np.int64) % 10
    data = Dataset("made-up", "train", np.repeat(images(8).numpy(), 8, 0), labels, 10, mean=(0.4,), std=0.25)
    whole = data.subset(np.arange(64).repeat(8))
    monkeypatch.setattr(benchmark, "_data", lambda count: (whole, data, "made up"))
    scaling = {"case": "2 processes", "peer": "one process", "ours": 1, "peer_value": 2, "unit": "s", "ratio": 2}
    monkeypatch.setattr(benchmark, "scaling_rows", lambda *_: [scaling | {"headline": False}])
    monkeypatch.setattr(sys, "argv", ["explore.py", "--quick", "--json", "--out", str(tmp_path / "a.json")])
    assert benchmark.main() == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    row, _ = result["rows"]
    assert (row["case"], row["peer"], row["headline"]) == ("fashion PTQ candidates", "torch-fake-quant", True)
    assert row["ratio"] == pytest.approx(row["peer_value"] / row["ours"], rel=1e-3)
    assert len(result["candidates"]) == 3
    assert json.loads((tmp_path / "a.json").read_text()) == result


def test_more_processes_give_the_same_table():
    labels = np.arange(64, dtype=np.int64) % 10
    data = Dataset("made-up", "train", np.repeat(images(8).numpy(), 64, 0), labels.repeat(8), 10, mean=(0.4,), std=0.25)
    rows = benchmark.scaling_rows(settled(), data, data.subset(slice(0, 32)), 2, benchmark.Clock())
    assert [row["case"] for row in rows] == ["2 candidates, 2 processes", "2 candidates, 4 processes"]
    assert all(row["efficiency"] > 0 and not row["headline"] for row in rows)
