"""The worker's side: answer requests from standard input, one JSON object a line. Standard library only.

Times are of the process clock, which counts the threads of native libraries too, or of the wall clock.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

SHORTEST_BLOCK = 0.002
"""Seconds: calls shorter than this are timed several at once."""
CLOCKS = {"cpu": time.process_time_ns, "wall": time.perf_counter_ns}


def own_output() -> TextIO:
    """The pipe to the parent; whatever else the process prints goes to its error output."""
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return pipe


def serve(pipe: TextIO, call: Callable[[int], Any], inputs: int, **info: Any) -> None:
    """Answer until the input ends.

    call(i): one prediction of input i, 0 <= i < inputs; timing goes round the inputs, so that no kernel learns one by
    heart.
    """
    for i in range(inputs):  # warm-up
        call(i)
    _tell(pipe, info)
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "time":
            _tell(pipe, timed(call, inputs, request["seconds"], request["clock"]))
        elif request["do"] == "memory":
            _tell(pipe, memory())
        else:
            raise ValueError(f"a worker was asked to do {request['do']!r}; it knows time and memory")


def timed(call: Callable[[int], Any], inputs: int, seconds: float, clock: str = "cpu") -> dict[str, Any]:
    """Milliseconds per call, one number a block of calls, until the seconds are over; at least one block."""
    now = CLOCKS[clock]
    began = now()
    call(0)
    first = max(now() - began, 1)
    length = max(1, round(SHORTEST_BLOCK * 1e9 / first))
    blocks: list[float] = []
    spent, i = 0, 0
    while spent < seconds * 1e9:
        began = now()
        for _ in range(length):
            call(i)
            i = i + 1 if i + 1 < inputs else 0
        took = now() - began
        blocks.append(took / length / 1e6)
        spent += max(took, 1)
    return {"ms": blocks, "calls": length * len(blocks)}


def memory() -> dict[str, int | None]:
    """Resident bytes of this process: now, and at its highest."""
    sizes: dict[str, int | None] = {
        "resident": None,
        "highest": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key in ("VmRSS", "VmHWM"):
                sizes["resident" if key == "VmRSS" else "highest"] = int(value.split()[0]) * 1024
    return sizes


def _tell(pipe: TextIO, answer: dict[str, Any]) -> None:
    pipe.write(json.dumps(answer) + "\n")
    pipe.flush()
