"""The training state: complete, and refused where it does not belong."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from bitspike.train.checkpoint import Progress, Run, load_state, refuse_other_run, save_state
from bitspike.train.config import TrainConfig
from bitspike.train.ema import MovingAverage
from bitspike.train.optimizer import build_optimizer

IDENTITY = {"recipe": {"train": {"lr": 0.1, "epochs": 3}}, "data": {"fingerprint": "abc"}}


def make_run(seed: int) -> Run:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = build_optimizer(net, TrainConfig(optimizer="sgd"))
    net(torch.rand(5, 3)).square().sum().backward()
    optimizer.step()
    progress = Progress(epoch=seed, step=2, loss_sum=0.1 + seed, correct=3, history=[{"loss": 1 / 3}])
    return Run(net, optimizer, MovingAverage(net, 0.9), progress, {"b": torch.tensor(0.5), "a": torch.tensor(0.25)})


def draw():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def test_everything_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "state.safetensors"
    run = make_run(1)
    save_state(path, run, IDENTITY)
    expected = draw()
    other = make_run(2)
    load_state(path, other, IDENTITY)
    assert draw() == expected
    assert other.progress == run.progress
    assert list(other.firing_sum.items()) == list(run.firing_sum.items())
    for name, value in run.net.state_dict().items():
        assert torch.equal(value, other.net.state_dict()[name])
        assert torch.equal(run.average.values[name], other.average.values[name])
    for one, two in zip(run.net.parameters(), other.net.parameters(), strict=True):
        stored = [each.optimizer.state[value]["momentum_buffer"] for each, value in ((run, one), (other, two))]
        assert torch.equal(*stored)


def test_a_state_of_another_run_is_refused_and_the_difference_told(tmp_path):
    path = tmp_path / "run" / "state.safetensors"
    save_state(path, make_run(1), IDENTITY)
    changed = {"recipe": {"train": {"lr": 0.05, "epochs": 3}}, "data": {"fingerprint": "abc"}}
    told = r"run holds another run: recipe\.train\.lr was 0\.1 and is now 0\.05\."
    with pytest.raises(ValueError, match=told) as error:
        load_state(path, make_run(1), changed)
    assert "--out" in str(error.value)
    assert "--fresh" in str(error.value)


def test_many_differences_are_counted_not_listed(tmp_path):
    stored = {str(index): index for index in range(9)}
    with pytest.raises(ValueError, match="and 6 more"):
        refuse_other_run(tmp_path, stored, {key: value + 1 for key, value in stored.items()})
    refuse_other_run(tmp_path, stored, dict(stored))


def test_a_state_that_does_not_fit_the_network_names_the_tensor(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, make_run(1), IDENTITY)
    other = replace(make_run(1), net=nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5)))
    with pytest.raises(ValueError, match=r"first 0\.weight: \(4, 3\), not \(5, 3\)"):
        load_state(path, other, IDENTITY)


def test_another_version_of_torch_is_warned_about(tmp_path, monkeypatch, caplog):
    path = tmp_path / "state.safetensors"
    save_state(path, make_run(1), IDENTITY)
    monkeypatch.setattr("bitspike.train.checkpoint.versions", lambda: {"torch": "0.1"})
    load_state(path, make_run(1), IDENTITY)
    assert "resumed with other versions" in caplog.text


def test_other_arithmetic_is_warned_about(tmp_path, caplog):
    path = tmp_path / "state.safetensors"
    save_state(path, make_run(1), IDENTITY)
    load_state(path, make_run(1), IDENTITY)
    assert caplog.text == ""
    load_state(path, replace(make_run(1), precision="bfloat16"), IDENTITY)
    assert "resumed with other precision (bfloat16, before float32)" in caplog.text


def test_next_epoch_empties_the_sums():
    progress = Progress(epoch=2, step=9, loss_sum=3.0, spike_loss_sum=1.0, correct=4, seconds=5.0, epoch_seconds=2.0)
    progress.next_epoch()
    assert progress == Progress(epoch=3, seconds=7.0)
