import subprocess

import pytest

from _shared import environment
from _shared.environment import PeerMissingError, ensure


@pytest.fixture
def peers(tmp_path, monkeypatch):
    """An environment of peers in which nothing is installed, and the commands that would be run."""
    monkeypatch.setattr(environment, "PEERS", tmp_path / "peers")
    commands = []

    def run(command, **_):
        commands.append(command)
        if "venv" in command:
            python = environment.peers_python()
            python.parent.mkdir(parents=True)
            python.touch()
        failed = any("onnxruntime" in word for word in command)
        return subprocess.CompletedProcess(command, int(failed), "", "WARNING: x\nERROR: No matching distribution")

    monkeypatch.setattr(environment.subprocess, "run", run)
    return commands


def test_packages_are_installed_once_and_under_the_constraints(peers):
    told = []
    python = ensure("torch", ["torch==2.13.0"], told.append)
    assert python == environment.peers_python()
    assert [command[1:3] for command in peers] == [["-m", "venv"], ["-m", "pip"]]
    assert peers[1][-3:] == ["--constraint", str(environment.ROOT / "constraints.txt"), "torch==2.13.0"]
    assert len(told) == 1
    assert ensure("torch", ["torch==2.13.0"], told.append) == python
    assert len(peers) == 2


def test_packages_that_ask_for_too_much_are_installed_alone(peers):
    for _ in range(2):
        ensure("jelly", ["torch==2.13.0", "loguru==0.7.3"], lambda _: None, alone=["spikingjelly==2.0.0"])
    assert len(peers) == 3
    assert peers[1][-2:] == ["torch==2.13.0", "loguru==0.7.3"]
    assert peers[2][-2:] == ["--no-deps", "spikingjelly==2.0.0"]
    ensure("jelly", ["torch==2.13.0", "loguru==0.7.3", "spikingjelly==2.0.0"], lambda _: None)
    assert len(peers) == 4  # not the same


def test_other_pins_are_installed_anew(peers):
    ensure("torch", ["torch==2.13.0"], print)
    ensure("torch", ["torch==2.14.0"], print)
    assert [command[-1] for command in peers[1:]] == ["torch==2.13.0", "torch==2.14.0"]


def test_what_cannot_be_had_says_why_and_is_tried_again(peers):
    for _ in range(2):
        with pytest.raises(PeerMissingError, match="ort: ERROR: No matching distribution"):
            ensure("ort", ["onnxruntime==1.31.1"], print)
    assert sum("pip" in command for command in peers) == 2


def test_a_module_that_fails_gives_its_last_words(monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nValueError: no such layer")

    monkeypatch.setattr(environment.subprocess, "run", run)
    with pytest.raises(PeerMissingError, match=r"ort: _inference.make_onnx ended with: ValueError: no such layer"):
        environment.run_module(environment.ROOT, "_inference.make_onnx", [], group="ort")
