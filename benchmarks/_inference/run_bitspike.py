"""Worker `bitspike`: a .bsp file through the runtime, as a program that only predicts would do it."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from _shared.serving import own_output, serve
from bitspike.runtime import IntegerNet

LOADS = 11


def main() -> None:
    """MODEL.bsp INPUTS.npy: time predict on uint8 inputs [N, (T,) B, C, H, W]."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--threads", type=int, help="the engine itself, with so many threads")
    given = parser.parse_args()
    pipe = own_output()
    loads = []
    for _ in range(LOADS):
        began = time.process_time()
        net = IntegerNet.load(given.model)
        loads.append((time.process_time() - began) * 1e3)
    inputs = list(np.load(given.inputs))
    predict = net.predict if given.threads is None else _threaded(net, given.threads)
    began = time.process_time()
    predict(inputs[0])
    serve(
        pipe,
        lambda i: predict(inputs[i]),
        len(inputs),
        load_ms=statistics.median(loads),
        first_load_ms=loads[0],
        first_predict_ms=(time.process_time() - began) * 1e3,
        file_bytes=given.model.stat().st_size,
        torch_loaded="torch" in sys.modules,
    )


def _threaded(net: IntegerNet, threads: int) -> Any:
    from bitspike.engine import Engine

    return Engine(net.graph, threads=threads).predict


if __name__ == "__main__":
    main()
