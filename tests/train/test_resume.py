"""A run killed by SIGKILL at random moments ends bit-identical to an uninterrupted one."""

import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from train_samples import make_images

from bitspike.train.config import Recipe
from bitspike.train.from_recipe import build_net
from bitspike.train.model_file import load_model
from bitspike.train.run import train

CHILD = textwrap.dedent(
    """
    import json, sys, time
    sys.path.insert(0, sys.argv[1])
    from train_samples import make_images
    from bitspike.train.config import Recipe
    from bitspike.train.from_recipe import build_net
    from bitspike.train.run import train

    data = make_images(96)
    recipe = Recipe.from_dict(json.loads(sys.argv[2]))
    net = build_net(recipe, data)
    net.register_forward_hook(lambda *_: time.sleep(0.005))  # leaves the killer time in every step
    train(net, data, recipe, test=make_images(30, seed=5, split="test"), out=sys.argv[3], device="cpu",
          save_every=0.0, show_progress=False)
    """
)
KILLS = 3


def start(table: dict, out: Path) -> subprocess.Popen:
    paths = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), json.dumps(table), str(out)]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"})


def wait_for_new_state(state: Path, child: subprocess.Popen) -> None:
    """Until the child has written the state file anew, or has ended."""
    before = state.stat().st_ino if state.exists() else None
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        try:
            if state.stat().st_ino != before:
                return
        except FileNotFoundError:
            pass
        time.sleep(0.002)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_at_random_moments_ends_bit_identical(table, tmp_path):
    table["train"] |= {"epochs": 40, "validate_every": 16}
    data, recipe = make_images(96), Recipe.from_dict(table)
    whole = train(
        build_net(recipe, data), data, recipe, test=make_images(30, seed=5, split="test"), device="cpu",
        show_progress=False,
    )  # fmt: skip

    chance = random.Random()
    state, killed = tmp_path / "run" / "state.safetensors", 0
    for _ in range(KILLS):
        child = start(table, tmp_path / "run")
        wait_for_new_state(state, child)
        time.sleep(chance.uniform(0.0, 0.2))
        child.kill()
        killed += child.wait() == -9
    assert killed == KILLS, "the children ended before they could be killed; make the run longer"
    assert state.exists()
    assert start(table, tmp_path / "run").wait() == 0

    assert [item.name for item in (tmp_path / "run").iterdir()] == ["model.safetensors"]
    resumed, header = load_model(tmp_path / "run" / "model.safetensors")
    expected = whole.net.state_dict()
    assert resumed.state_dict().keys() == expected.keys()
    for name, value in resumed.state_dict().items():
        assert value.dtype == expected[name].dtype
        assert torch.equal(value, expected[name]), name
    assert header.results["test_accuracy"] == whole.results["test_accuracy"]
    assert header.results["firing_rates"] == whole.results["firing_rates"]
    losses = [[record["loss"] for record in results["history"]] for results in (header.results, whole.results)]
    assert losses[0] == losses[1]
