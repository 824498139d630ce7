"""The exported C beside the reference: every spike, count, membrane and logit of every step."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from bitspike.export import CompiledNet
from bitspike.integer import run
from bitspike.integer.graph import Flatten
from needed_tools import need_tool


def need_compiler() -> str:
    """A C compiler, by any of its names."""
    return next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), "") or need_tool("gcc")


def reference(net, samples):
    """Logits after every step [T, B, K], values and membranes [T, B, ...] by node, from integer/ops.py."""
    frames = run.frames(net.graph, torch.tensor(samples))
    state = run.State()
    values, membranes, logits = {}, {}, []
    for t in range(len(frames)):
        logits.append(run.advance(net.graph, frames[t : t + 1], state, _into(values)).numpy().copy())
        for name, membrane in state.membranes.items():
            membranes.setdefault(name, []).append(membrane.potential.numpy().copy())
    return (
        np.stack(logits),
        {name: np.concatenate(found) for name, found in values.items()},
        {name: np.stack(found) for name, found in membranes.items()},
    )


def _into(values):
    return lambda name, value: values.setdefault(name, []).append(value.numpy().copy())


def assert_equal(net, samples, **options):
    """Compile a network, run samples, and compare all there is to compare; what was recorded."""
    record = CompiledNet(net, **options).run(samples)
    logits, values, membranes = reference(net, samples)
    entry = net.graph.input.name
    given = {entry} | {node.name for node in net.graph.nodes if isinstance(node, Flatten) and node.source == entry}
    values = {name: value for name, value in values.items() if name not in given}
    assert set(record.values) == set(values)
    assert set(record.membranes) == set(membranes)
    for kind, found, expected in (("values", record.values, values), ("membranes", record.membranes, membranes)):
        for name, value in expected.items():
            assert found[name].shape == value.shape, f"{kind} of {name}"
            differing = np.argwhere(found[name] != value)
            if len(differing):
                first = tuple(differing[0])
                pytest.fail(
                    f"{kind} of {name} differ in {len(differing)} of {value.size}, first at [T, B, ...] = "
                    f"{[int(at) for at in first]}: C has {found[name][first]}, the reference {value[first]}"
                )
    assert np.array_equal(record.steps, logits)
    assert np.array_equal(record.logits, logits[-1])
    return record
