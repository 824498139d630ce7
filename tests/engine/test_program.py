"""The flat program that the engine reads: whatever is wrong with it is refused with a sentence, or does no harm."""

from __future__ import annotations

import ctypes
import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitspike.engine import KERNELS, Engine, builds
from bitspike.engine.library import build_number, loaded_library
from bitspike.engine.program import program
from bitspike.integer import graph as g
from varied_graphs import varied_graph, varied_samples, varied_weight

pytestmark = pytest.mark.skipif(not builds(), reason="no engine was built; make engine shows why")
HERE = Path(__file__).resolve().parent
RUN_DAMAGED = HERE / "run_damaged_programs.py"


def small_graph(**changes: object) -> g.Graph:
    """One spiking convolution with 3 channels."""
    numbers = np.random.default_rng(1)
    layer = {
        "threshold": np.full((3, 1), 4, np.int32),
        "rounding": np.ones((3, 1), np.int32),
        "rounding_fired": None,
        "shift": np.zeros(3, np.int32),
        "leak": 1,
        "leak_exponent": 1,
        "g": 1,
        "levels": 7,
        "reset": "hard",
        "stochastic": False,
        "seed": 0,
        "stream": 0,
    }
    operator = g.Convolution(numbers.choice((-1, 1), (3, 2, 3, 3)), (1, 1), (1, 1))
    return g.Graph(
        (
            g.Input("entry", "events", (2, 4, 4), 3, (0, 0), 3, 1.0),
            g.Spiking("layer", "entry", operator, g.Fire(**(layer | changes)), None),  # type: ignore[arg-type]
            g.Flatten("flat", "layer"),
            g.Readout("last", "flat", varied_weight(numbers, (2, 48), 2), np.zeros(2, np.int32), 1.0, 3),
        )
    )


def refusal(flat: bytes, build: int | None = None, kernel: int = 0) -> str:
    """The engine's sentence about a program; empty if it takes it. build: the best one that runs here."""
    build = build_number(None) if build is None else build
    library, message = loaded_library(), ctypes.create_string_buffer(512)
    net = library.bs_net_new(flat, len(flat), build, kernel, message, 512)
    if not net:
        assert message.value, "refused without a word"
        return message.value.decode()
    library.bs_net_free(net)
    assert not message.value
    return ""


def test_a_good_program_is_taken():
    assert refusal(program(small_graph())) == ""


@pytest.mark.parametrize("seed", range(4))
def test_every_truncation_is_refused(seed):
    flat = program(varied_graph(seed, channels=(1, 2, 5)))
    ends = range(0, len(flat), 4) if len(flat) < 40_000 else range(0, len(flat), 4 * (len(flat) // 40_000 + 1))
    for end in ends:
        told = refusal(flat[:end], kernel=end // 4 % 4)
        assert "ends too early" in told, end
    assert "goes on after its last node" in refusal(flat + bytes(4))
    assert refusal(flat[:-2])  # not even a whole word


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 1, "this is not a program of the engine"),
        (1, 2, "the program has version 2, the engine reads 1"),
        (2, 1, "the number of nodes is 1; allowed: 2 to 4096"),
        (2, 5000, "the number of nodes is 5000"),
        (3, 1, "node 0: the input is the first node and no other"),
        (5, 0, "node 0: channels is 0; allowed: 1 to 65535"),
        (6, 9000, "node 0: height is 9000; allowed: 1 to 8192"),
        (9, 256, "node 0: the largest value is 256; allowed: 1 to 255"),
        (10, 3, "node 0: the zero point has 3 numbers; expected: 2"),
        (11, -1, "node 0: a zero point is -1"),
        (13, 0, "node 1: the input is the first node and no other"),
        (13, 5, "node 1: the kind of node is 5; allowed: 0 to 4"),
        (14, 1, "node 1: the source is 1; allowed: 0 to 0"),
        (16, 0, "node 1: the number of outputs is 0"),
        (17, 3, "node 1: a convolution of 3 inputs reads 2 channels"),
        (18, 7, "node 1: the window is larger than the map"),
        (20, 0, "node 1: the stride is 0"),
        (15, 3, "node 1: the operator is 3; allowed: 0 to 2"),
        (24, 3, "node 1: the weight grid is 3"),
        (25, 2, "node 1: the weight grid does not go with 2 bits"),
        (26, 9, "node 1: weights take 9 bytes; expected: 7"),
    ],
)
def test_what_is_wrong_is_named(place, value, message):
    flat = bytearray(program(small_graph()))
    struct.pack_into("<i", flat, 4 * place, value)
    assert message in refusal(bytes(flat))


def test_windows_of_sums_and_a_skip_are_refused():
    """No graph that was checked says so; a program may."""
    graph = small_graph()
    layer = graph.nodes[1]
    assert isinstance(layer, g.Spiking) and isinstance(layer.operator, g.Convolution)
    pooled = replace(layer.operator, largest=g.Largest((1, 1), (1, 1)))
    side = g.Convolution(np.ones((3, 2, 1, 1), np.int64), (1, 1), (0, 0))
    skip = g.WeightedSkip("entry", side, np.zeros(3, np.int32))
    wide = replace(pooled, largest=g.Largest((2, 2), (1, 1)))

    def refused(operator: g.Convolution, joined: g.Convolution) -> str:
        node = replace(layer, operator=operator, skip=replace(skip, operator=joined))
        return refusal(program(g.Graph((graph.nodes[0], node, *graph.nodes[2:]))))

    assert "node 1: a layer that takes the largest of its sums has a skip" in refused(wide, side)
    larger = replace(side, padding=(1, 1))  # 6 x 6 sums, of which 4 x 4 are left
    assert "node 1: a skip takes the largest" in refused(
        layer.operator, replace(larger, largest=g.Largest((3, 3), (1, 1)))
    )


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (24, 5, "node 1: a window of sums is larger than their map"),
        (25, 0, "node 1: the window of sums is 0; allowed: 1 to 8192"),
        (27, 0, "node 1: the stride of sums is 0"),
    ],
)
def test_wrong_windows_of_sums_are_named(place, value, message):
    graph = small_graph()
    layer = graph.nodes[1]
    assert isinstance(layer, g.Spiking) and isinstance(layer.operator, g.Convolution)
    pooled = replace(layer, operator=replace(layer.operator, largest=g.Largest((2, 2), (1, 1))))
    flat = bytearray(program(g.Graph((graph.nodes[0], pooled, *graph.nodes[2:]))))
    struct.pack_into("<i", flat, 4 * place, value)
    assert message in refusal(bytes(flat))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shift": np.array([0, 31, 0], np.int32)}, "layer: a shift is 31; allowed: 0 to 30"),
        ({"levels": 6}, "layer: 6 levels are not 2\\^k - 1"),
        ({"leak_exponent": 2}, "layer: the leak's exponent 2 is above g = 1"),
        ({"threshold": np.zeros((2, 1), np.int32)}, "layer: the thresholds has 2 numbers; expected: 3"),
        (
            {"threshold": np.zeros((3, 2), np.int32), "rounding": np.zeros((3, 2), np.int32)},
            "layer: thresholds for counts",
        ),
    ],
)
def test_a_refused_network_names_the_node(changes, message):
    """Graphs that were not checked, straight to the engine."""
    with pytest.raises(ValueError, match=f"the engine refuses this network: {message}"):
        Engine(small_graph(**changes))


def test_odd_weights_of_16_bits_are_refused():
    """They would reach 65535, and codes have 16 bits with a sign."""
    flat = bytearray(program(small_graph()))
    struct.pack_into("<3i", flat, 4 * 24, 1, 16, 16 * 7)
    flat[4 * 27 : 4 * 29] = bytes(16 * 7)
    assert refusal(bytes(flat)) == "node 1: odd weights of 16 bits do not fit 16"
    with pytest.raises(ValueError, match="odd of 2 to 15"):
        type(small_graph().nodes[3].weight)((1, 8), "odd", 16, np.zeros((16, 1), np.uint8))  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="weights lie from -65535 to 65535; allowed: -32768 to 32767"):
        g.Dense(np.array([[65535, -65535]]))  # type: ignore[arg-type]


def test_builds_and_kernels_that_are_not_there():
    flat = program(small_graph())
    assert "cannot run build 99" in refusal(flat, build=99)
    assert "cannot run build -1" in refusal(flat, build=-1)
    assert "kernel is 4; allowed: 0 to 3" in refusal(flat, kernel=4)
    with pytest.raises(ValueError, match="kernel is 'fast'; allowed: auto, planes, dense, lanes"):
        Engine(small_graph(), kernel="fast")
    with pytest.raises(ValueError, match="no build 'sse' that runs here; it has"):
        Engine(small_graph(), build="sse")
    for threads in (0, 257):
        with pytest.raises(ValueError, match=f"threads is {threads}; allowed: 1 to 256"):
            Engine(small_graph(), threads=threads)


def test_damaged_programs_do_no_harm():
    """Words changed by chance: refused, or run to the end. In a process of its own, which a crash would end."""
    done = subprocess.run(
        [sys.executable, str(RUN_DAMAGED), "400"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert counts["refused"] > 100
    assert counts["ran"] > 100


def test_little_programs_take_little_memory():
    """Large strides and windows of a program of some hundred bytes; every size comes from its numbers."""
    numbers = np.random.default_rng(2)
    entry = g.Input("entry", "events", (1, 64, 1), 1, (0,), 1, 1.0)
    first = g.Convolution(varied_weight(numbers, (1, 1, 1, 1), 1), (1, 1), (0, 0))
    second = g.Convolution(varied_weight(numbers, (1, 1, 1, 1), 1), (1, 8192), (0, 0))
    fire = small_graph().nodes[1].fire  # type: ignore[union-attr]
    one = g.Fire(**(vars(fire) | {"shift": np.zeros(1, np.int32), "threshold": np.ones((1, 1), np.int32),
                                  "rounding": np.zeros((1, 1), np.int32)}))  # fmt: skip
    graph = g.Graph(
        (
            entry,
            g.Spiking("first", "entry", first, one, None),
            g.Spiking("second", "first", second, one, None),
            g.Flatten("flat", "second"),
            g.Readout("last", "flat", varied_weight(numbers, (2, 64), 1), np.zeros(2, np.int32), 1.0, 1),
        )
    )
    library = loaded_library()
    for build in builds():
        for kernel in KERNELS:
            engine = Engine(graph, build=build, kernel=kernel)
            assert engine.table_bytes < 1 << 16
            session = engine._new_session(1)
            assert library.bs_session_bytes(session.pointer) < 1 << 18
            samples = varied_samples(graph, 2, 1)
            assert np.array_equal(engine.predict(samples), Engine(graph, kernel="lanes").predict(samples))
