"""What is refused before anything is evaluated or written, and in which words."""

from __future__ import annotations

import fcntl
import os

import pytest
import torch
from torch import nn

from bitspike.explore import executor
from bitspike.explore.storage import kept, shown
from studies import SPACE, TinyNet, bars, run

FEW = {"space": {"weight.bits": [2, 4], "membrane.bits": [2], "ends.bits": [4]}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("begun")
    run(**FEW, out=place)
    return place


def _other_net() -> nn.Module:
    net = TinyNet()
    with torch.no_grad():
        net.first.weight[0, 0, 0, 0] += 1
    return net


def _longer_net() -> nn.Module:
    net = TinyNet()
    net.input.time_steps = 3
    return net


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"net": _other_net()}, "network"),
        ({"net": _longer_net()}, "network, train"),
        ({"data": bars(seed=1)}, "training data, validation data"),
        ({"validation": bars(24, seed=5)}, "training data, validation data"),
        ({"seed": 1}, "seed"),
        ({"space": SPACE}, "space"),
        ({"objectives": ("accuracy", "operations")}, "objectives"),
        ({"calibration": (1, 16)}, "calibration"),
        ({"statistics": False}, "statistics"),
        ({"sampler": "random"}, "generation, sampler"),
        ({"asynchronous": True}, "asynchronous"),
    ],
)
def test_a_folder_belongs_to_one_exploration(changes, named, folder, monkeypatch):
    monkeypatch.setattr(executor, "evaluate_candidate", None)
    with pytest.raises(ValueError, match=r"is another exploration") as caught:
        run(**FEW | changes, out=folder)
    assert f"differs in {named};" in str(caught.value)


def test_a_folder_belongs_to_one_process(folder):
    handle = os.open(folder / "leader.lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match=r"another process explores in .*; wait for it, or choose another folder"):
        run(**FEW, out=folder)
    os.close(handle)
    assert len(run(**FEW, out=folder)) == 2


@pytest.mark.parametrize("sampler", ["exhaustive", "one-at-a-time", "nsga2", "tpe", "random"])
@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({}, "the space has no dimension"),
        ({"weight.bits": []}, "give a list of one or more"),
        ({"weight.bits": [2], "membrane.bits": [2]}, "readout would keep weights of 32 bits|first would keep weights"),
        ({"weight.grid": ["binary"], "base": "4w4u"}, "no candidate of the space can be"),
        ({"override.nothing.weight.bits": [2], "base": "4w4u"}, "the override 'nothing' matches no layer"),
        ({"weight.bit": [2]}, "is no dimension of a space"),
        ({"scheme": ["later"]}, "scheme may be 'later'"),
    ],
)
def test_spaces_in_which_nothing_can_be(space, says, sampler, tmp_path):
    with pytest.raises(ValueError, match=says):
        run(space=space, sampler=sampler, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"workers": 0}, "workers"),
        ({"trials": 0}, "trials"),
        ({"generation": 0}, "generation"),
        ({"on": "slurm"}, "on is 'slurm'; allowed: local, ray"),
        ({"on": "rayon"}, "on is 'rayon'; allowed: local, ray"),
        ({"join": True}, "give the storage that it is in"),
        ({"sampler": "best"}, "sampler is 'best'; allowed: auto, exhaustive"),
        ({"objectives": ()}, "the objectives are none"),
        ({"calibration": (9, 99)}, "ask for fewer or smaller batches"),
        ({"net": nn.Sequential(TinyNet(), nn.Linear(2, 2))}, "modules that are no blocks"),
    ],
)
def test_arguments_that_cannot_be(changes, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        run(**changes, **({} if "join" in changes else {"out": tmp_path / "study"}))
    assert not (tmp_path / "study").exists()


def test_a_storage_that_is_no_text(tmp_path):
    with pytest.raises(TypeError, match="storage is of type PosixPath; give the URL of a database, or a folder as out"):
        run(storage=tmp_path)


def test_passwords_with_slashes_are_not_shown():
    for password in ("secret", "se/cr/et", "s:e/c"):
        for told in (shown, kept):
            text = told(f"postgresql://user:{password}@host/db")
            assert password not in text
            assert text.endswith("@host/db")
