"""The engine's side of presenting images: the same numbers as `floating` and `integers`, hundreds of times faster."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.engine import stdp as engine
from bitspike.stdp.coding import rate_table
from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import float_constants, integer_constants
from bitspike.stdp.state import State

_ROUNDINGS = {"truncation": 0, "nearest": 1, "stochastic": 2}
_AT_LEAST = 32
"""Images that a thread is worth."""


def builds() -> tuple[str, ...]:
    """The engine's builds that run here, best first; none where no engine was built."""
    return engine.builds()


def present(
    config: StdpConfig,
    state: State,
    *,
    numbers: Sequence[int] | NDArray[Any],
    learn: bool,
    pixels: NDArray[np.uint8] | None = None,
    trains: NDArray[Any] | None = None,
    build: str | None = None,
    threads: int = 1,
) -> NDArray[np.int16]:
    """Which neuron spikes in each step, [B, T], -1 for none.

    pixels: uint8 [B, inputs]; or trains: the input's spikes, [B, T, inputs]. While learning there is one thread.
    """
    count = len(numbers)
    table = [np.asarray(numbers, np.uint32)]
    table.append(np.ascontiguousarray(trains, np.uint8) if pixels is None else np.ascontiguousarray(pixels, np.uint8))
    expected = (count, config.inputs) if pixels is not None else (count, config.steps, config.inputs)
    if table[1].shape != expected:
        raise ValueError(f"what is presented has shape {table[1].shape}; {count} images of this network: {expected}")
    winners = np.empty((count, config.steps), np.int16)
    net, held = _net(config, state)
    chosen = build or builds()[0]

    def part(first: int, last: int) -> None:
        images = engine.Images(
            pixels=None if pixels is None else table[1][first:].ctypes.data,
            trains=None if pixels is not None else table[1][first:].ctypes.data,
            numbers=table[0][first:].ctypes.data,
            count=last - first,
            learn=learn,
            winners=winners[first:].ctypes.data,
        )
        engine.run(chosen, net, images)

    if count:
        parts = 1 if learn else max(1, min(threads, count // _AT_LEAST))
        edges = [count * i // parts for i in range(parts + 1)]
        if parts == 1:
            part(0, count)
        else:
            with ThreadPoolExecutor(parts) as pool:
                list(pool.map(part, edges[:-1], edges[1:]))
    if learn:
        state.images += count
    del held
    return winners


def _net(config: StdpConfig, state: State) -> tuple[engine.Net, list[Any]]:
    """The net, and arrays that must live as long as it is used."""
    rates = rate_table(config)
    floats = float_constants(config)
    held: list[Any] = [rates, floats.trace]
    net = engine.Net(
        seed=config.seed,
        inputs=config.inputs,
        neurons=config.neurons,
        steps=config.steps,
        delay=config.delay,
        refractory=config.refractory_steps,
        strongest=config.winner == "strongest",
        rates=rates.ctypes.data,
        weights=_address(state.weights),
        theta=_address(state.theta),
        scale=_address(state.scale),
        unsettled=_address(state.unsettled),
    )
    if config.bits is None:
        net.kind = engine.FLOAT
        _refuse_other_type(state, np.float32)
        for name in ("leak", "reset", "threshold", "inhibition", "theta_plus", "theta_leak"):
            setattr(net, f"float_{name}", getattr(floats, name))
        net.rate_pre, net.rate_post, net.norm = floats.rate_pre, floats.rate_post, floats.norm
        net.float_trace = floats.trace.ctypes.data
        return net, held
    whole = integer_constants(config)
    net.kind = engine.BYTES if config.bits.weight <= 8 else engine.WIDE
    _refuse_other_type(state, np.uint8 if net.kind == engine.BYTES else np.uint16)
    net.rounding = _ROUNDINGS[config.bits.rounding]
    for item in fields(whole):
        if item.name != "trace":
            setattr(net, item.name, getattr(whole, item.name))
    held.append(whole.trace)
    net.trace = whole.trace.ctypes.data
    return net, held


def _address(array: NDArray[Any]) -> int:
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise ValueError("a state's arrays must be contiguous and writable; take a copy() of it")
    return array.ctypes.data


def _refuse_other_type(state: State, kind: type[Any]) -> None:
    if state.weights.dtype != kind:
        raise TypeError(f"the weights are {state.weights.dtype}; the engine takes {np.dtype(kind)} for this network")
