"""Run by the tests as a program of its own, since what Ray prints fills pages: explores on clusters of this machine.

The first argument is the case, the last line printed is JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from studies import LARGE, run

STUDY: dict[str, Any] = {"space": LARGE, "sampler": "nsga2", "trials": 24, "generation": 8}


def begun_here() -> dict[str, Any]:
    """A cluster that explore begins and ends itself."""
    import ray

    rows = run(**STUDY, on="ray", workers=2)
    return {"rows": rows, "left": ray.is_initialized()}


def a_node_is_lost(folder: Path) -> dict[str, Any]:
    """Three nodes, joined by address; one goes without grace in mid-study."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    os.environ["RAY_ADDRESS"] = cluster.address
    lost: list[int] = []

    def watch(found: Any) -> None:
        finished = len(found.finished)
        if finished >= 5 and not lost:
            lost.append(finished)
            threading.Thread(target=cluster.remove_node, args=(nodes[0],), kwargs={"allow_graceful": False}).start()

    rows = run(**STUDY, on="auto", out=folder, watch=watch)
    cluster.shutdown()
    return {"rows": rows, "lost": lost}


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    case, folder = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(begun_here() if case == "begun_here" else a_node_is_lost(folder)))
