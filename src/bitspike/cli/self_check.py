"""A tiny network through all its forms: real form, reference and every build of the engine, equal in every spike.

Without torch there is neither real form nor reference: then the engine's builds and kernels are compared with
each other.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from bitspike.integer.graph import Graph


def self_check() -> dict[str, Any]:
    """`passed`: True, False, or None where nothing can run; `detail`: what was compared or went wrong."""
    from bitspike.cli.system import engine_builds

    with_torch = importlib.util.find_spec("torch") is not None
    if not with_torch and not engine_builds():
        return {"passed": None, "detail": "not run: there is neither torch nor an engine"}
    try:
        values, differing, forms = _compare() if with_torch else _compare_kernels()
    except Exception as error:  # whatever is broken is what this check is for
        return {"passed": False, "detail": f"failed with {type(error).__name__}: {' '.join(str(error).split())}"}
    if differing:
        return {"passed": False, "detail": f"{differing} of {values} spikes and logits differ between {forms}"}
    return {"passed": True, "detail": f"{forms} agree in all {values} spikes and logits"}


def _compare() -> tuple[int, int, str]:
    """How many spikes and logits were compared, how many differ, and between which forms."""
    import torch

    from bitspike.block import SpikingBlock, real_form
    from bitspike.block.base import watching
    from bitspike.cli.opening import lowered
    from bitspike.integer import run
    from bitspike.model import create_model

    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = create_model("small8", spec="1w2u", widths=[4, 8]).train()
        images = torch.randint(0, 256, (8, 1, 8, 8), generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            net(images)  # one training step's statistics, so that batch norm does something
    net.eval()
    spikes: list[torch.Tensor] = []

    def note(block: Any, _operands: Any, result: torch.Tensor) -> None:
        if isinstance(block, SpikingBlock):
            spikes.append(result)

    with torch.no_grad(), real_form(net), watching(note):
        logits = net(images).mean(0).numpy()
    graph = lowered(net).graph
    values: dict[str, NDArray[Any]] = {}

    def keep(name: str, value: torch.Tensor) -> None:
        values[name] = value.numpy()

    reference = run.advance(graph, run.frames(graph, images), run.State(), keep).numpy()
    compared = differing = 0
    for real, node in zip(spikes, graph.spiking, strict=True):
        compared += real.numel()
        differing += int((real.numpy() != values[node.name]).sum())
    unit = graph.readout.unit
    wrong = np.abs(logits - reference * unit) > abs(unit) / 4
    compared, differing = compared + wrong.size, differing + int(wrong.sum())
    forms = ["real form", "reference"]
    for name, found, predicted in _engine_runs(graph, images.numpy()):
        forms.append(f"engine ({name})")
        pairs = [(values[node.name], found.values[node.name]) for node in graph.spiking]
        pairs += [(reference, found.logits), (reference, predicted)]
        compared += sum(expected.size for expected, _ in pairs)
        differing += sum(int((expected != given).sum()) for expected, given in pairs)
    return compared, differing, f"{', '.join(forms[:-1])} and {forms[-1]}"


def _engine_runs(graph: Graph, samples: NDArray[np.uint8]) -> list[tuple[str, Any, NDArray[np.int64]]]:
    """Every build of the engine, what it recorded, and its logits when nobody watches, which is other code."""
    from bitspike.cli.system import engine_builds

    names = engine_builds()
    if not names:
        return []
    from bitspike.engine import Engine

    engines = [Engine(graph, build=name) for name in names]
    return [(engine.build, engine.run(samples, membranes=False), engine.predict(samples)) for engine in engines]


def _compare_kernels() -> tuple[int, int, str]:
    """The same of the engine alone: every build and kernel against the first."""
    from bitspike.cli.system import engine_builds
    from bitspike.engine import KERNELS, Engine

    numbers = np.random.default_rng(1)
    graph = _small_graph(numbers)
    samples = numbers.integers(0, 256, (8, *graph.input.shape), dtype=np.uint8)
    engines = [Engine(graph, build=name, kernel=kernel) for name in engine_builds() for kernel in KERNELS]
    runs = [engine.run(samples, membranes=False) for engine in engines]
    compared = differing = 0
    for engine, found in zip(engines, runs, strict=True):
        pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [(runs[0].logits, found.logits)]
        pairs += [(runs[0].logits, engine.predict(samples))]  # other code runs where nobody watches
        pairs += [(runs[0].values[node.name], found.values[node.name]) for node in graph.spiking]
        for expected, given in pairs:
            compared += expected.size
            differing += int((expected != given).sum())
    return compared, differing, f"{len(runs)} builds and kernels of the engine (no reference: torch is missing)"


def _small_graph(numbers: np.random.Generator) -> Graph:
    """Two spiking convolutions of binary weights, the second with a skip."""
    from bitspike.integer import graph as g
    from bitspike.integer.weight import Weight

    channels, side, steps = 40, 8, 4
    nodes: list[g.Node] = [g.Input("input", "image", (1, side, side), steps, (128,), 255, 1.0)]
    for name, source, inputs, reach in (("first", "input", 1, 300), ("second", "first", channels, 12)):
        skip = g.PlainSkip("first", 1, None, 1) if name == "second" else None
        table = (channels, 2 if skip else 1)
        fire = g.Fire(
            threshold=numbers.integers(-reach // 4, reach, table).astype(np.int32),
            rounding=numbers.integers(-reach, reach, table).astype(np.int32),
            rounding_fired=None,
            shift=numbers.integers(0, 2, channels).astype(np.int32),
            leak=1,
            leak_exponent=1,
            g=4,
            levels=1,
            reset="hard",
            stochastic=False,
            seed=0,
            stream=0,
        )
        codes = 2 * numbers.integers(0, 2, (channels, inputs, 3, 3)) - 1
        nodes.append(g.Spiking(name, source, g.Convolution(Weight.of(codes), (1, 1), (1, 1)), fire, skip))
    nodes.append(g.Flatten("flat", "second"))
    readout = 2 * numbers.integers(0, 2, (10, channels * side * side)) - 1
    nodes.append(g.Readout("readout", "flat", Weight.of(readout), np.zeros(10, np.int32), 1.0, steps))
    return g.Graph(tuple(nodes))
