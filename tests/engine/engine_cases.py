"""Random integer graphs, and what the reference computes on them, in a file that engine_check.c reads."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bitspike.integer import graph as g
from bitspike.integer import run

CHANNELS = (1, 2, 3, 16, 31, 33, 63, 64, 65, 129)


def random_graph(seed: int, channels: tuple[int, ...] = CHANNELS) -> g.Graph:
    """Two spiking convolutions, the second with a skip, pooling, a spiking dense layer, a readout: sizes by chance."""
    numbers = np.random.default_rng(seed)
    events = bool(numbers.integers(2))
    shape = (int(numbers.integers(1, 4)), int(numbers.integers(3, 9)), int(numbers.integers(3, 9)))
    steps = int(numbers.integers(1, 5))
    zero = (0,) * shape[0] if events else tuple(int(z) for z in numbers.integers(0, 256, shape[0]))
    bound = int(numbers.choice((1, 3, 255))) if events else 255
    entry = g.Input("input", "events" if events else "image", shape, steps, zero, bound, 1.0)
    nodes: list[g.Node] = [entry]
    first = _convolution(numbers, shape[0], int(numbers.choice(channels)), stride=int(numbers.integers(1, 3)))
    nodes.append(_spiking(numbers, "first", "input", first, bound, 0, 0, None))
    size = _size(shape[1:], first)
    skip_kind = str(numbers.choice(("none", "plain", "mapped", "weighted")))
    outputs = first.weight.shape[0] if skip_kind == "plain" else int(numbers.choice(channels))
    second = _convolution(numbers, first.weight.shape[0], outputs, stride=1, same=True)
    skip: g.PlainSkip | g.WeightedSkip | None = None
    if skip_kind == "plain":
        skip = g.PlainSkip("first", 1, None, 1)
    elif skip_kind == "mapped":
        skip = g.PlainSkip("first", 1, tuple(int(c) for c in numbers.integers(-1, first.weight.shape[0], outputs)), 1)
    elif skip_kind == "weighted":
        side = int(numbers.choice((1, 3)))
        codes = _codes(numbers, (outputs, first.weight.shape[0], side, side))
        operator = g.Convolution(codes, (1, 1), (side // 2, side // 2))
        skip = g.WeightedSkip("first", operator, numbers.integers(0, 4, outputs))
    nodes.append(_spiking(numbers, "second", "first", second, 1, *_skip_bounds(skip), skip))
    last, per_pixel = "second", 1
    if min(size) >= 2 and numbers.integers(2):
        kind, stride = str(numbers.choice(("max", "sum"))), int(numbers.integers(1, 3))
        kernel, padding = (3, 1) if numbers.integers(2) else (2, 0)
        nodes.append(g.Pool("pool", last, kind, (kernel, kernel), (stride, stride), (padding, padding)))
        size = tuple((side + 2 * padding - kernel) // stride + 1 for side in size)
        last, per_pixel = "pool", kernel**2 if kind == "sum" else 1
    nodes.append(g.Flatten("flat", last))
    features, last = outputs * size[0] * size[1], "flat"
    if numbers.integers(2):
        dense = g.Dense(_codes(numbers, (int(numbers.choice(channels)), features)))
        nodes.append(_spiking(numbers, "dense", "flat", dense, per_pixel, 0, 0, None))
        features, last = dense.weight.shape[0], "dense"
    classes = int(numbers.integers(2, 12))
    readout = _codes(numbers, (classes, features))
    nodes.append(g.Readout("readout", last, readout, numbers.integers(-50, 50, classes), 1.0, steps))
    return g.Graph(tuple(nodes))


def random_samples(graph: g.Graph, batch: int, seed: int) -> NDArray[np.uint8]:
    """uint8 [B, C, H, W] of images or [T, B, C, H, W] of events, up to the input's bound."""
    entry = graph.input
    lead = (batch,) if entry.kind == "image" else (entry.time_steps or 1, batch)
    return np.random.default_rng(seed).integers(0, entry.bound + 1, (*lead, *entry.shape), dtype=np.uint8)


def write_case(path: Path, graph: g.Graph, program: bytes, samples: NDArray[np.uint8]) -> None:
    """Program, samples, and the reference's logits, values and membranes of every step."""
    events = graph.input.kind == "events"
    frames = run.frames(graph, torch.from_numpy(samples))
    steps, batch = frames.shape[:2]
    state = run.State()
    values: dict[str, list[NDArray[np.int32]]] = {}
    membranes: dict[str, list[NDArray[np.int32]]] = {}
    logits = torch.zeros(0)

    def note(name: str, value: torch.Tensor) -> None:
        values.setdefault(name, []).append(value[0].numpy().astype(np.int32))

    for step in range(steps):
        logits = run.advance(graph, frames[step : step + 1], state, note)
        for name, membrane in state.membranes.items():
            membranes.setdefault(name, []).append(membrane.potential.numpy().astype(np.int32))
    frame_bytes = int(np.prod(graph.input.shape))
    with path.open("wb") as file:
        file.write(b"BSCHECK1")
        file.write(struct.pack("<5q", len(program), int(events), steps, batch, frame_bytes))
        file.write(program)
        file.write(np.ascontiguousarray(samples).tobytes())
        file.write(struct.pack("<q", logits.numel()) + logits.numpy().astype("<i8").tobytes())
        file.write(struct.pack("<q", len(graph.nodes)))
        for node in graph.nodes:
            noted = isinstance(node, g.Spiking | g.Pool)
            for numbers in (values[node.name] if noted else [], membranes.get(node.name, [])):
                array = np.stack(numbers) if numbers else np.zeros(0)
                file.write(struct.pack("<q", array.size) + array.astype("<i4").tobytes())


def _codes(numbers: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int16]:
    """Weights of one of the grids and widths that the engine treats differently."""
    bits = int(numbers.choice((1, 1, 1, 2, 3, 4, 8)))
    if bits == 1 or numbers.integers(2):
        raw = numbers.integers(0, 1 << bits, shape)
        return (2 * raw - ((1 << bits) - 1)).astype(np.int16)
    return numbers.integers(-(1 << (bits - 1)) + 1, 1 << (bits - 1), shape).astype(np.int16)


def _convolution(
    numbers: np.random.Generator, inputs: int, outputs: int, *, stride: int, same: bool = False
) -> g.Convolution:
    side = int(numbers.choice((1, 3)))
    padding = side // 2 if same else int(numbers.integers(0, side // 2 + 1))
    return g.Convolution(_codes(numbers, (outputs, inputs, side, side)), (stride, stride), (padding, padding))


def _size(size: tuple[int, ...], operator: g.Convolution) -> tuple[int, ...]:
    side, padding, stride = operator.weight.shape[2], operator.padding[0], operator.stride[0]
    return tuple((length + 2 * padding - side) // stride + 1 for length in size)


def _most(operator: g.WeightedSum) -> int:
    """The largest sum of weights of an output, by magnitude."""
    return int(np.abs(np.asarray(operator.weight, np.int64)).reshape(operator.weight.shape[0], -1).sum(1).max())


def _skip_bounds(skip: g.PlainSkip | g.WeightedSkip | None) -> tuple[int, int]:
    """Largest count of a plain skip, largest shifted sum of a weighted one."""
    if isinstance(skip, g.PlainSkip):
        return skip.bound, 0
    if isinstance(skip, g.WeightedSkip):
        return 0, _most(skip.operator) << int(skip.shift.max())
    return 0, 0


def _spiking(
    numbers: np.random.Generator,
    name: str,
    source: str,
    operator: g.WeightedSum,
    bound: int,
    counts: int,
    joined: int,
    skip: g.PlainSkip | g.WeightedSkip | None,
) -> g.Spiking:
    """Thresholds and roundings about the size of what the layer's sums reach."""
    channels = operator.weight.shape[0]
    shift = numbers.integers(0, 4, channels)
    bits = int(numbers.choice((2, 2, 3, 4, 8)))
    levels = (1 << (bits - 1)) - 1
    exponent = int(numbers.integers(0, 4))
    leak = int(numbers.integers(0, (1 << exponent) + 1))
    g_shift = int(numbers.integers(exponent, exponent + 6))
    typical = (int(np.sqrt(_most(operator) * bound)) + 1) << 2
    shape = (channels, counts + 1)
    soft = bool(numbers.integers(2))
    fire = g.Fire(
        threshold=numbers.integers(-typical // 2, 2 * typical + joined // 4 + 1, shape).astype(np.int32),
        rounding=numbers.integers(-typical, typical + 1, shape).astype(np.int32),
        rounding_fired=numbers.integers(-typical, typical + 1, shape).astype(np.int32) if soft else None,
        shift=shift.astype(np.int32),
        leak=leak,
        leak_exponent=exponent,
        g=g_shift,
        levels=levels,
        reset="soft" if soft else "hard",
        stochastic=bool(numbers.integers(4) == 0),
        seed=int(numbers.integers(2**32)),
        stream=int(numbers.integers(8)),
    )
    return g.Spiking(name, source, operator, fire, skip)
