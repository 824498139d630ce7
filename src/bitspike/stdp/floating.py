"""The float network on numpy, the definition of what the engine computes in float32.

One step t of one image; u is a potential above rest, x a trace, s a spike, W the weights:

    u     = leak u
    theta = theta_leak theta                                        (while learning)
    u     = u + (sum of W over the inputs that spiked at t - 1  - inhibition of a spike of another neuron at t - delay)
            unless refractory
    every neuron with u >= threshold + theta: refractory, u = reset, theta = theta + theta_plus; one of them spikes
    W[i]  = W[i] - rate_pre x_neuron       for inputs i that spike at t
    W     = W + rate_post x_input          for the neuron that spikes, then 0 <= W <= 1

Sums go over inputs in ascending order, and no product is fused into a sum. After an image the weights of every neuron
that learned are scaled to their sum: W = min(1, W norm / sum(W)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import FloatConstants, float_constants
from bitspike.stdp.state import Array, State

NO_SPIKE = -1


def present(config: StdpConfig, state: State, train: NDArray[np.bool_], *, learn: bool) -> NDArray[np.int16]:
    """Which neuron spikes in each step, [T], -1 for none; train: the input's spikes, [T, inputs]."""
    kind = state.weights.dtype.type
    constants = float_constants(config, kind)
    count = config.neurons
    potential, current = np.zeros(count, kind), np.zeros(count, kind)
    refractory = np.zeros(count, np.int64)
    theta = state.theta if learn else state.theta.copy()
    spiked = np.full(count, NO_SPIKE, np.int64)  # the step of a neuron's last spike
    seen = np.full(config.inputs, NO_SPIKE, np.int64)
    winners = np.full(config.steps, NO_SPIKE, np.int16)
    for step in range(config.steps):
        potential *= constants.leak
        if learn:
            theta *= constants.theta_leak
        before = winners[step - config.delay] if step >= config.delay else NO_SPIKE
        if before != NO_SPIKE:
            own = current[before]
            current -= constants.inhibition
            current[before] = own
        potential += np.where(refractory == 0, current, kind(0))
        refractory = np.maximum(refractory - 1, 0)
        edge = constants.threshold + theta
        reached = potential >= edge
        if reached.any():
            winners[step] = choose(config, reached, potential - edge)
            spiked[winners[step]] = step
            refractory[reached] = config.refractory_steps
            potential[reached] = constants.reset
            if learn:
                theta[reached] += constants.theta_plus
        active = np.flatnonzero(train[step])
        seen[active] = step
        if learn:
            _learn(state, constants, active, seen, spiked, int(winners[step]), step)
        current = np.zeros(count, kind)
        for i in active:
            current += state.weights[i]
    if learn:
        _normalize(config, state, constants, spiked >= 0)
        state.images += 1
    return winners


def choose(config: StdpConfig, reached: NDArray[np.bool_], excess: Array) -> int:
    """The one that spikes: of the lowest index, or farthest above its threshold and then of the lowest index."""
    if config.winner == "lowest":
        return int(np.argmax(reached))
    return int(np.argmax(np.where(reached, excess, excess.min())))


def _learn(
    state: State,
    constants: FloatConstants,
    active: NDArray[np.intp],
    seen: NDArray[np.int64],
    spiked: NDArray[np.int64],
    winner: int,
    step: int,
) -> None:
    fired = np.flatnonzero(spiked >= 0)
    weights = state.weights
    if len(fired) and len(active):
        place = np.ix_(active, fired)
        weights[place] -= constants.trace[step - spiked[fired]] * constants.rate_pre
    if winner != NO_SPIKE:
        inputs = np.flatnonzero(seen >= 0)
        weights[inputs, winner] += constants.rate_post * constants.trace[step - seen[inputs]]
        weights[inputs, winner] = np.clip(weights[inputs, winner], 0, 1)
    if len(fired) and len(active):
        weights[place] = np.clip(weights[place], 0, 1)


def _normalize(config: StdpConfig, state: State, constants: FloatConstants, learned: NDArray[np.bool_]) -> None:
    kind = state.weights.dtype.type
    for neuron in np.flatnonzero(learned | (state.unsettled != 0)):
        column = state.weights[:, neuron]
        total = np.cumsum(column)[-1]  # one by one, as the engine adds
        scaled = column * (constants.norm / total if total > 0 else kind(1))
        state.unsettled[neuron] = bool((scaled > 1).any())
        state.weights[:, neuron] = np.minimum(scaled, kind(1))
