"""Damages COUNT programs, runs what the engine takes, and prints what became of them.

A process of its own, since what it looks for would end it.
"""

from __future__ import annotations

import ctypes
import json
import struct
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from bitspike.engine import builds
from bitspike.engine.library import build_number, loaded_library
from bitspike.engine.program import program
from bitspike.integer.graph import Graph
from bitspike.integer.shapes import shapes

sys.path.insert(0, str(Path(__file__).parents[1]))
from varied_graphs import varied_graph

VALUES = (0, 1, -1, 2, 3, 7, 8, 31, 32, 63, 255, 256, 4096, 65535, 65536, 2**30, 2**31 - 1, -(2**31))
MOST_WORK = 1 << 22
STEPS = 2


def main(count: int) -> None:
    """Two thirds of the damages go to the first words of nodes, where sizes are; the rest anywhere."""
    numbers = np.random.default_rng(11)
    outcomes: Counter[str] = Counter()
    for case in range(count):
        graph = varied_graph(case // 20, channels=(1, 2, 5, 33))
        flat = bytearray(program(graph))
        if len(flat) > 100_000:
            continue
        for _ in range(int(numbers.integers(1, 4))):
            place = int(numbers.integers(0, len(flat) // 4 if numbers.integers(3) == 0 else min(80, len(flat) // 4)))
            old = struct.unpack_from("<i", flat, 4 * place)[0]
            new = int(numbers.choice(VALUES)) if numbers.integers(2) else old + int(numbers.integers(-2, 3))
            struct.pack_into("<i", flat, 4 * place, max(-(2**31), min(new, 2**31 - 1)))
        outcomes[_tried(bytes(flat), graph, case)] += 1
    print(json.dumps(outcomes))


def _tried(flat: bytes, graph: Graph, case: int) -> str:
    library, message = loaded_library(), ctypes.create_string_buffer(200)
    build = build_number(builds()[case % len(builds())])
    net = library.bs_net_new(flat, len(flat), build, case % 4, message, 200)
    if not net:
        assert message.value, "refused without a word"
        return "refused"
    try:
        return _ran(net, flat, graph, case)
    finally:
        library.bs_net_free(net)


def _ran(net: int, flat: bytes, graph: Graph, case: int) -> str:
    library, message = loaded_library(), ctypes.create_string_buffer(200)
    kind, channels, height, width, steps, bound = struct.unpack_from("<6i", flat, 16)
    classes = max(len(graph.readout.bias), _most_classes(flat))
    if channels * height * width > MOST_WORK or steps > 16 or not _same_sizes(flat, graph):
        return "too large to run"  # that would only take long
    steps = steps or STEPS
    session = library.bs_session_new(net, steps, 1 + case % 3 // 2, message, 200)
    if not session:
        assert message.value, "refused without a word"
        return "no session"
    frames = 2 * (steps if kind == 1 else 1)
    samples = np.random.default_rng(case).integers(0, min(bound, 255) + 1, frames * channels * height * width)
    samples = samples.astype(np.uint8)
    logits = np.zeros(2 * classes, np.int64)
    library.bs_predict(session, samples.ctypes.data, 2, logits.ctypes.data, None)
    library.bs_session_free(session)
    states = np.zeros((2, library.bs_state_bytes(net)), np.uint8)
    session = library.bs_session_new(net, 1, 1, message, 200)
    if session:
        for _ in range(2):
            library.bs_step(session, samples.ctypes.data, 2, states.ctypes.data, logits.ctypes.data, None)
        library.bs_session_free(session)
    return "ran"


def _same_sizes(flat: bytes, graph: Graph) -> bool:
    """Whether the map that enters has about the size of the one that was damaged."""
    _, channels, height, width, _, _ = struct.unpack_from("<6i", flat, 16)
    return bool(channels * height * width <= 64 * np.prod(shapes(graph)[graph.input.name]))


def _most_classes(flat: bytes) -> int:
    """No readout of this program has more: it would need as many words of bias."""
    return len(flat) // 4


if __name__ == "__main__":
    main(int(sys.argv[1]))
