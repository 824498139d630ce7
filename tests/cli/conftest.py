"""Running command lines in this process, and small trained networks to run them on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitspike.cli import main

RECIPE = """
quant = "{quant}"
[model]
name = "small8"
options = {{ widths = [4, 8] }}
[data]
name = "digits"
time_steps = 2
[train]
epochs = 2
batch = 64
lr = 1e-2
"""
EVENT_RECIPE = """
quant = "1w4u"
[model]
name = "small_events"
options = { widths = [4, 4, 8] }
[data]
name = "nmnist"
time_steps = 3
validation = 0
options = { bound = 7 }
[train]
epochs = 1
batch = 8
"""


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON object that it must be."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


def run_here(*words: object) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    return Result(code, out.getvalue(), err.getvalue())


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run a command line in an empty folder; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BITSPIKE_DEBUG", raising=False)
    return run_here


@pytest.fixture(scope="session")
def run_command():
    """The same wherever one is, for what is made once."""
    return run_here


@pytest.fixture
def environment() -> dict[str, str]:
    """For child processes: this package, one thread."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def recipes(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recipes")
    files = {"small": RECIPE.format(quant="1w2u"), "float": RECIPE.format(quant="32w32u"), "events": EVENT_RECIPE}
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return {name: folder / f"{name}.toml" for name in files}


@pytest.fixture(scope="session")
def event_root(tmp_path_factory) -> Path:
    """A data root with an N-MNIST of two classes: events on the left, events on the right."""
    root = tmp_path_factory.mktemp("event data")
    generator = np.random.default_rng(3)
    for split, count in (("Train", 8), ("Test", 5)):
        for label in range(2):
            folder = root / "nmnist" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                x = generator.integers(0, 17, 200) + 17 * label
                y, p = generator.integers(0, 34, 200), generator.integers(0, 2, 200)
                t = np.sort(generator.integers(0, 300_000, 200))
                np.save(folder / f"{number}.npy", np.stack([x, y, t, p], axis=1))
    return root


@pytest.fixture(scope="session")
def trained(tmp_path_factory, recipes, event_root) -> dict[str, Path]:
    """Model files: a small digits net as 1w2u and in floats, and an event net as 1w4u."""
    folder = tmp_path_factory.mktemp("trained")
    for name, recipe in recipes.items():
        done = run_here("train", recipe, "--out", folder / name, "--device", "cpu", "--data-root", event_root, "--json")
        assert done.code == 0, done.err
    return {name: folder / name / "model.safetensors" for name in recipes}


@pytest.fixture(scope="session")
def written(trained, tmp_path_factory) -> dict[str, Path]:
    """The integer networks (.bsp) of the trained ones that have any."""
    folder = tmp_path_factory.mktemp("lowered")
    files = {name: folder / f"{name}.bsp" for name in ("small", "events")}
    for name, path in files.items():
        done = run_here("lower", trained[name], "--out", path, "--json")
        assert done.code == 0, done.err
    return files


@pytest.fixture(scope="session")
def explored(trained, tmp_path_factory) -> Path:
    """The folder of a small exploration of the float digits net; tests that write there take a copy."""
    folder = tmp_path_factory.mktemp("explored") / "digits"
    done = run_here("explore", trained["float"], "--base", "8w8u", "--try", "weight.bits=1,4", "--try",
                    "membrane.bits=2,4", "--out", folder, "--json")  # fmt: skip
    assert done.code == 0, done.err
    return folder
