import json
import sys

import pytest
import torch
from torch import nn

import training_gpu
from _shared.timing import Series
from _training import on_device
from _training import resnet19 as peers
from _training.on_device import Job, Measured
from bitspike.model import create_model, resnet19

CPU = torch.device("cpu")


@pytest.fixture
def narrow(monkeypatch):
    """ResNet19 with eight channels, so that a step takes no time."""
    monkeypatch.setattr(resnet19, "STAGES", ((8, 1, 1), (16, 1, 2), (16, 1, 2)))
    monkeypatch.setattr(training_gpu, "QUICK", training_gpu.Effort(2, 0.0))


def test_it_runs_at_a_tiny_scale_and_ends_with_one_json_line(narrow, monkeypatch, capsys, tmp_path):
    file = tmp_path / "results" / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["training_gpu.py", "--device", "cpu", "--quick", "--json", "--out", str(file)])
    assert training_gpu.main() == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["benchmark"] == "training_gpu"
    assert json.loads(file.read_text()) == result
    assert [entry["name"] for entry in result["participants"]][:3] == [
        "bitspike-1w2u", "bitspike-32w32u", "bitspike-1w2u-plain",
    ]  # fmt: skip
    for entry in result["participants"]:
        assert entry["images_per_second"] > 0
        assert 0 < entry["host_ms"] <= entry["ms"] * 1.01
    fused = next(row for row in result["rows"] if row["peer"] == "bitspike-1w2u-plain")
    assert (fused["case"], fused["spec"], fused["T"], fused["batch"]) == ("resnet19 T=2 B=2 8x8 1w2u", "1w2u", 2, 2)
    assert fused["headline"]


def test_every_step_trains(narrow):
    job = Job(CPU, "float32", 4, 8)
    torch.manual_seed(0)
    step = on_device.our_step(job, "1w2u", fused=True)
    losses = [float(step()[0]) for _ in range(30)]
    assert losses[-1] < losses[0]


def test_rows_compare_who_was_there():
    def measured(milliseconds):
        return Measured(Series([milliseconds] * 3, 9), [1.0] * 3)

    job = Job(CPU, "bfloat16", 128, 32)
    times = {"bitspike-1w2u": 20.0, "bitspike-32w32u": 16.0, "bitspike-1w2u-plain": 60.0, "spikingjelly": 40.0}
    found = {name: measured(value) for name, value in times.items()}
    rows = training_gpu.rows(job, found)
    assert [(row["case"], row["peer"], row["ratio"], row["headline"]) for row in rows] == [
        ("resnet19 T=2 B=128 1w2u", "bitspike-1w2u-plain", 3.0, True),
        ("resnet19 T=2 B=128 1w2u", "spikingjelly", 2.0, True),
        ("resnet19 T=2 B=128 32w32u", "spikingjelly", 2.5, False),
        ("resnet19 T=2 B=128 1w2u", "bitspike-32w32u", 0.8, False),
    ]
    assert on_device.summary("bitspike-1w2u", found["bitspike-1w2u"], job)["images_per_second"] == 6400.0
    del found["spikingjelly"]
    assert len(training_gpu.rows(job, found)) == 2


def test_who_does_not_fit_the_memory_is_missing(monkeypatch):
    def too_much(*_, **__):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training_gpu, "our_step", too_much)
    monkeypatch.setattr(training_gpu, "peer_step", too_much)
    found, missing = training_gpu.contest(Job(CPU, "float32", 512, 32), training_gpu.QUICK, lambda _: None)
    assert found == {}
    assert "bitspike-1w2u: not enough memory for a batch of 512" in missing


def test_the_peers_network_has_the_parameters_of_ours():
    def count(net):
        return sum(parameter.numel() for parameter in net.parameters())

    assert count(peers.resnet19(nn, nn.ReLU)) == count(create_model("resnet19", classes=10)) == 12_569_226


def test_the_peers_network_gives_logits(monkeypatch):
    monkeypatch.setattr(peers, "STAGES", ((8, 1, 1), (16, 1, 2), (16, 1, 2)))
    net = peers.resnet19(nn, nn.ReLU)
    assert net[0].out_channels == 8
    assert net(torch.rand(2, 3, 8, 8)).shape == (2, 10)
