"""Two processes on a CPU train what one process trains, save it once, and stop and go on together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import distributed_samples as samples
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from bitspike.block import SpikingConv2d, native
from bitspike.cli.running import run as command_line
from bitspike.data import load
from bitspike.spec import MembraneSpec
from bitspike.train import distributed, evaluate, load_model
from bitspike.train.run import choose_device

pytestmark = [
    pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed"),
    pytest.mark.skipif(sys.platform != "linux", reason="gloo between processes is tested on Linux"),
]


def environment(**more: object) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in distributed.VARIABLES}
    return (
        kept | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"} | {k: str(v) for k, v in more.items()}
    )


def kill_two(folder: Path, *words: object) -> list[int]:
    """Start two processes with a command line, without torchrun; kill both once they have saved. Exit codes."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "bitspike", *map(str, words)]
    pair = []
    for rank in range(2):
        place = environment(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR="localhost", MASTER_PORT=port)
        pair.append(subprocess.Popen(command, env=place, cwd=folder, stderr=subprocess.PIPE))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(folder.glob("killed/state.safetensors")):
        if any(child.poll() is not None for child in pair):
            break
        time.sleep(0.005)
    for child in pair:
        child.kill()
        child.communicate()
    return [child.returncode for child in pair]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where two processes wrote what they computed."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    path = tmp_path_factory.mktemp("two")
    (path / "small.toml").write_text(samples.RECIPE)
    assert kill_two(path, *samples.LINE, "killed") == [-signal.SIGKILL] * 2
    assert (path / "killed" / "state.safetensors").is_file()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [samples.__file__, str(path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def found(folder) -> list[dict]:
    """What each of the two processes found."""
    return [json.loads((folder / f"found.{rank}.json").read_text()) for rank in range(2)]


def tensors(folder: Path, case: tuple[str, ...]) -> list[dict[str, torch.Tensor]]:
    if "native" in case and not native.available():
        pytest.skip("no engine was built")
    return [load_file(folder / f"{'-'.join(case)}.{rank}") for rank in range(2)]


# Equal to one process


@pytest.mark.parametrize("case", samples.LAYERS, ids="-".join)
def test_a_layer_on_two_halves_of_a_batch_is_the_layer_on_the_batch(folder, case):
    first, second = tensors(folder, case)
    expected = samples.computed(*case)
    assert first.keys() == second.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith("shared"):
            ours = torch.cat([first[name], second[name]], 1)
        else:
            ours = first[name]
            assert torch.equal(ours, second[name]), name
        assert float((ours - value).norm()) <= 1e-5 * float(value.norm()) + 1e-6, name


@pytest.mark.parametrize("case", samples.RUNS, ids="-".join)
def test_two_processes_have_the_loss_curve_of_one(folder, found, case):
    states = tensors(folder, case)
    first, second = (part["-".join(case)] for part in found)
    assert first == second
    expected, _ = samples.trained(*case)
    assert expected["history"][-1]["loss"] < 0.9 * expected["history"][0]["loss"]
    for ours, theirs in zip(first["history"], expected["history"], strict=True):
        for name in ("loss", "spike_loss"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4)
        assert ours["firing_rates"] == pytest.approx(theirs["firing_rates"], abs=1e-4)
        assert ours["train_accuracy"] == pytest.approx(theirs["train_accuracy"], abs=0.02)
    assert any("running_var" in name for name in states[0])
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


# One run


def test_the_first_process_alone_writes_and_speaks(folder, found):
    first, second = (part["whole"] for part in found)
    assert first["code"] == second["code"] == 0
    assert second["out"] == second["err"] == ""
    assert first["err"].count("epoch 8/8") == 1
    assert [item.name for item in (folder / "whole").iterdir()] == ["model.safetensors"]
    net, header = load_model(folder / "whole" / "model.safetensors")
    assert header.provenance["processes"] == 2
    assert evaluate(net, load("digits", "test")).accuracy == json.loads(first["out"])["test_accuracy"] > 0.5


def test_a_batch_that_cannot_be_shared_is_refused_once_before_anything_is_written(folder, found):
    refused = [part["refused"] for part in found]
    assert [part["code"] for part in refused] == [2, 2]
    said = [line for part in refused for line in part["err"].splitlines() if line.startswith("bitspike: ")]
    assert said == [
        "bitspike: a batch of 63 samples cannot be shared evenly by 2 processes; set train.batch to a multiple of 2, "
        "such as 62"
    ]
    (told,) = (json.loads(part["out"]) for part in refused if part["out"])
    assert said == [f"bitspike: {told['error']}"]
    assert not any((folder / "refused").iterdir())


def test_a_signal_to_one_process_stops_all_after_the_same_step(folder, found):
    for part in found:
        told = part["stopped"]
        assert told["message"].startswith("stopped in epoch 3 after step 1; the same command goes on from")
        assert told["signal"] == signal.SIGTERM
        assert told["states"] == 1
        assert told["resumed"]
        losses = [[record["loss"] for record in part[name]["history"]] for name in ("stopped", "1w2u-native")]
        assert losses[0] == losses[1]
    resumed, _ = load_model(folder / "stopped" / "model.safetensors")
    whole = load_file(folder / "1w2u-native.0")
    assert all(torch.equal(value, whole[name]) for name, value in resumed.state_dict().items())


def test_killed_processes_go_on_to_the_same_end(folder, found):
    assert json.loads(found[0]["killed"]["out"])["resumed"] is True
    assert [item.name for item in (folder / "killed").iterdir()] == ["model.safetensors"]
    files = [folder / name / "model.safetensors" for name in ("killed", "whole")]
    (ours, header), (theirs, expected) = (load_model(file) for file in files)
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
    losses = [[record["loss"] for record in part.results["history"]] for part in (header, expected)]
    assert losses[0] == losses[1]


# What is said of a launch that cannot work


@pytest.fixture
def launched(monkeypatch):
    """Sets the variables of a process, and removes those that are not given."""

    def launch(**variables: str) -> None:
        for name in distributed.VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return launch


def test_a_launch_by_halves_is_refused(launched):
    launched(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0")
    with (
        pytest.raises(ValueError, match="set without MASTER_ADDR and MASTER_PORT; start with torchrun"),
        distributed.together(),
    ):
        pass
    launched(WORLD_SIZE="2", RANK="2", LOCAL_RANK="0", MASTER_ADDR="localhost", MASTER_PORT="1")
    with (
        pytest.raises(ValueError, match=r"RANK=2, WORLD_SIZE=2, .* no numbers that fit together"),
        distributed.together(),
    ):
        pass
    for alone in ({}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "0"}):
        launched(**alone)
        with distributed.together():
            assert distributed.is_first()
            assert distributed.share(7) == slice(0, 7)
            assert distributed.from_first({"a": 1}) == {"a": 1}


def test_only_the_first_process_tells_what_all_of_them_find(launched, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for rank, told in (("0", True), ("1", False)):
        launched(WORLD_SIZE="2", RANK=rank)
        assert command_line(["train", "no-such-recipe"]) == 2
        assert bool(capsys.readouterr().err) == told


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: None)
    for name in ("auto", "cuda", "cuda:1", torch.device("cuda", 1)):
        assert choose_device(name) == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match='device is "cuda:0", but each of 2 processes has a GPU of its own; give auto'):
        choose_device("cuda:0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="torch sees 1 on a machine with 2 processes or more; start 1 there"):
        choose_device("auto")


def test_random_numbers_belong_to_the_process_and_the_position(monkeypatch):
    def drawn(rank: int, step: int) -> float:
        monkeypatch.setattr(distributed, "rank", lambda: rank)
        distributed.draw_apart(5, 0, step)
        return float(torch.rand(()))

    distributed.draw_apart(5, 0, 0)
    before = torch.get_rng_state()
    distributed.draw_apart(5, 0, 0)
    assert torch.equal(torch.get_rng_state(), before)  # alone, nothing is drawn anew
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    numbers = {place: drawn(*place) for place in ((0, 0), (0, 1), (1, 0), (1, 1))}
    assert len(set(numbers.values())) == 4
    assert drawn(1, 0) == numbers[1, 0]


def test_layers_that_look_at_a_whole_batch_are_refused(monkeypatch):
    block = SpikingConv2d(1, 2)
    block.membrane_spec = MembraneSpec(bits=2, form="dynamic")
    dynamic, foreign = nn.Sequential(block), nn.Sequential(nn.BatchNorm2d(3))
    for net in (dynamic, foreign):
        distributed.check_shareable(net)
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    distributed.check_shareable(nn.Sequential(SpikingConv2d(1, 2), nn.SyncBatchNorm(3)))
    with pytest.raises(ValueError, match="layer 0 has a dynamic membrane, whose scale is taken from the whole batch"):
        distributed.check_shareable(dynamic)
    with pytest.raises(ValueError, match="layer 0 has a BatchNorm2d, whose statistics are taken from the whole batch"):
        distributed.check_shareable(foreign)
