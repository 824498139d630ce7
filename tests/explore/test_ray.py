"""Candidates as tasks of a Ray cluster: the same table, also where a node is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from on_a_cluster import STUDY

import bitspike
from bitspike.explore.explore import TABLE
from needed_tools import need_module
from studies import run

HERE = Path(__file__).parent


def _on_a_cluster(case: str, folder: Path) -> dict[str, Any]:
    """What the program says in its last line; what Ray says besides is shown only where it fails."""
    need_module("ray")
    paths = [Path(bitspike.__file__).parents[1], HERE, HERE.parent]  # for processes of the cluster too
    said, noise = folder / "said", folder / "noise"
    with said.open("w") as out, noise.open("w") as err:  # no pipes: what Ray leaves running would hold them open
        process = subprocess.Popen(
            [sys.executable, str(HERE / "on_a_cluster.py"), case, str(folder / "study")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            cwd=folder,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            code = process.wait(300)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert code == 0, noise.read_text()[-3000:]
    found: dict[str, Any] = json.loads(said.read_text().splitlines()[-1])
    return found


@pytest.mark.slow
def test_a_cluster_that_is_begun_for_it(tmp_path):
    found = _on_a_cluster("begun_here", tmp_path)
    assert found["rows"] == run(**STUDY)
    assert not found["left"]


@pytest.mark.slow
def test_a_node_that_is_lost_in_mid_study(tmp_path):
    found = _on_a_cluster("a_node_is_lost", tmp_path)
    assert found["lost"]
    assert found["lost"][0] < len(found["rows"])
    assert found["rows"] == run(**STUDY)
    assert len(json.loads((tmp_path / "study" / TABLE).read_text())["rows"]) == 24


def test_a_cluster_that_is_not_there(tmp_path):
    need_module("ray")
    with pytest.raises(ValueError, match=r"there is no Ray cluster at ray://127.0.0.1:1: ") as caught:
        run(on="ray://127.0.0.1:1", out=tmp_path)
    assert len(str(caught.value).splitlines()) == 1
