"""The numbers that candidates are compared by; all of the integer network that would ship."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bitspike.cost import CostTable
from bitspike.cost.integers import describe_graph
from bitspike.explore.pareto import LARGER_IS_BETTER
from bitspike.runtime.evaluation import evaluate_integers
from bitspike.runtime.rates import firing_rates

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.runtime import IntegerNet

RATE_SAMPLES = 256
"""Samples whose spikes are counted for operations and energy."""

LATENCY_CALLS = 101


def check_objectives(objectives: Sequence[str]) -> tuple[str, ...]:
    """Objectives by name, each once."""
    unknown = [name for name in objectives if name not in LARGER_IS_BETTER]
    if unknown or not objectives or len(set(objectives)) < len(objectives):
        raise ValueError(
            f"the objectives are {', '.join(objectives) or 'none'}; give one or more of {', '.join(LARGER_IS_BETTER)}, "
            "each once"
        )
    return tuple(objectives)


def numbers_of(net: IntegerNet, data: Dataset, objectives: Sequence[str], *, batch: int = 256) -> dict[str, Any]:
    """Accuracy and memory always, the other objectives where they are asked for.

    memory: bytes, weights, per-channel integers and the membrane of all layers, batch 1; memory_largest: with the
    largest layer's membrane only; operations: additions and multiplications of one sample by the spikes of the first
    `RATE_SAMPLES`; energy: joules of the same; latency: seconds of CPU time for one sample on this machine, median.
    """
    found = evaluate_integers(net, data, batch=batch)
    rates = None
    if {"operations", "energy"} & set(objectives):
        first = data.subset(slice(0, RATE_SAMPLES))
        rates = firing_rates(net, (np.ascontiguousarray(inputs) for inputs, _ in first.batches(64)))
    table = CostTable(
        "", tuple(describe_graph(net.graph, rates)), time_steps=net.graph.input.time_steps or data.time_steps
    )
    numbers: dict[str, Any] = {
        "accuracy": found.accuracy,
        "correct": found.correct,
        "samples": found.samples,
        "memory": table.memory.total,
        "memory_largest": table.memory.total_largest,
        "parameters": table.parameters,
        "firing_rates": {name: round(rate, 6) for name, rate in found.firing_rates.items()},
        **work_of(table, objectives),
    }
    if "latency" in objectives:
        numbers["latency"] = latency(net.predict, data)
    return numbers


def work_of(table: CostTable, objectives: Sequence[str]) -> dict[str, Any]:
    """Operations and energy of one sample, where they are asked for."""
    found: dict[str, Any] = {}
    if "operations" in objectives:
        found["operations"] = (table.operations.synaptic or 0.0) + table.operations.multiplications
    if "energy" in objectives:
        found["energy"] = None if table.energy is None else table.energy.joules
    return found


def latency(compute: Callable[[NDArray[Any]], object], data: Dataset, calls: int = LATENCY_CALLS) -> float:
    """Median CPU seconds in which a function computes on one sample."""
    inputs, _ = next(iter(data.batches(1)))
    sample = np.ascontiguousarray(inputs)
    taken = []
    for _ in range(calls):
        began = time.thread_time()
        compute(sample)
        taken.append(time.thread_time() - began)
    return statistics.median(taken)
