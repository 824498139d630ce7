"""Ctrl-C and a full disk, in processes of their own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from bitspike.train import load_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are POSIX")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "bitspike", *map(str, words)]


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(cli, tmp_path, recipes, environment):
    line = ["train", recipes["small"], "--epochs", "6", "--device", "cpu", "--out"]
    child = subprocess.Popen(
        command(*line, tmp_path / "stopped", "--json"),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr is not None
    told = ""
    while "epoch 1/6" not in told:
        text = child.stderr.readline()
        assert text, told
        told += text
    os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on from" in err.splitlines()[-1]
    assert "the same command goes on from" in json.loads(out)["error"]
    assert (tmp_path / "stopped" / "state.safetensors").is_file()

    resumed = cli(*line, tmp_path / "stopped", "--json")
    whole = cli(*line, tmp_path / "whole", "--json")
    assert resumed.json["resumed"] is True
    assert "goes on in" in resumed.err
    first, second = (load_model(tmp_path / name / "model.safetensors")[0].state_dict() for name in ("stopped", "whole"))
    assert all(bool((first[key] == second[key]).all()) for key in first)
    evaluated = cli("evaluate", tmp_path / "stopped", "--json").json
    assert evaluated["accuracy"] == whole.json["test_accuracy"] == resumed.json["test_accuracy"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
from bitspike.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(tmp_path, recipes, environment):
    words = ["train", str(recipes["small"]), "--epochs", "1", "--out", str(tmp_path / "run"), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "could not write" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "run").iterdir()) == []
