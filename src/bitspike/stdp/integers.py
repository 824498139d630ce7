"""The quantized network on numpy, integers only: the definition that the engine and the exported C equal bit for bit.

One step t of one image, in units of the membrane (>> is a floor, o what a rounding adds before it):

    I     = min(highest, (sum of W over the inputs that spiked at t - 1) * scale + half) >> scale_shift)
    D     = leak U + 2^14 (I unless refractory, - inhibition of another neuron's spike at t - delay unless refractory)
    every neuron with D >= threshold + (theta << theta_shift): refractory, U = reset,
            theta = min(most, theta + ((theta_plus + o) >> 8)); one of them spikes
    U     = clamp((D + o) >> 14) for all others
    W[i]  = W[i] - ((down x_neuron + o) >> F)       for inputs i that spike at t
    W     = W + ((up x_input + o) >> F)             for the neuron that spikes, then 0 <= W <= levels

After an image, for neurons that spiked: if sum(W) > limit, W = (W ((target << 16) / sum(W)) + o) >> 16; scale =
round(numerator / sum(W)). For all neurons theta = theta - ((theta theta_decay + o) >> 32).

o is 0 for truncation, half of what is shifted away for nearest, and a random number below that for stochastic
rounding: the upper bits of word + neuron * GOLDEN, where the word's counter is the image, the step and the input (words
0, 1, 2 for depression, potentiation and normalization; for the neurons' state word t % 4 of step t // 4, input 0).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import LEAK_BITS, RESCALE_BITS, THETA_BITS, IntegerConstants, integer_constants
from bitspike.stdp.floating import NO_SPIKE, choose
from bitspike.stdp.randomness import NEURONS, RESPONSE_NEURONS, WEIGHTS, spread, words
from bitspike.stdp.state import State, scales

Whole = NDArray[np.int64]


def present(
    config: StdpConfig, state: State, train: NDArray[np.bool_], image: int, *, learn: bool
) -> NDArray[np.int16]:
    """Which neuron spikes in each step, [T], -1 for none; image: its number, for random rounding."""
    constants = integer_constants(config)
    count = config.neurons
    numbers = np.arange(count, dtype=np.uint32)
    weights, theta = state.weights.astype(np.int64), state.theta.astype(np.int64)
    scale = state.scale.astype(np.int64)
    potential, sums = np.zeros(count, np.int64), np.zeros(count, np.int64)
    refractory = np.zeros(count, np.int64)
    spiked, seen = np.full(count, NO_SPIKE, np.int64), np.full(config.inputs, NO_SPIKE, np.int64)
    winners = np.full(config.steps, NO_SPIKE, np.int16)
    half = (1 << constants.scale_shift) >> 1
    for step in range(config.steps):
        current = np.minimum((sums * scale + half) >> constants.scale_shift, constants.highest)
        before = winners[step - config.delay] if step >= config.delay else NO_SPIKE
        if before != NO_SPIKE:
            own = current[before]
            current -= constants.inhibition
            current[before] = own
        decision = potential * constants.leak + np.where(refractory == 0, current << LEAK_BITS, 0)
        refractory = np.maximum(refractory - 1, 0)
        edge = constants.threshold + (theta << constants.theta_shift)
        drawn = spread(_neuron_word(config, image, step, learn), numbers)
        stored = (decision + offset(config, drawn, LEAK_BITS)) >> LEAK_BITS
        potential = np.clip(stored, constants.lowest, constants.highest)
        reached = decision >= edge
        if reached.any():
            winners[step] = choose(config, reached, decision - edge)
            spiked[winners[step]] = step
            refractory[reached] = config.refractory_steps
            potential[reached] = constants.reset
            if learn:
                more = (constants.theta_plus + offset(config, drawn, THETA_BITS)) >> THETA_BITS
                theta[reached] = np.minimum(theta + more, constants.theta_most)[reached]
        active = np.flatnonzero(train[step])
        seen[active] = step
        if learn:
            _learn(config, constants, weights, active, seen, spiked, int(winners[step]), step, image)
        sums = weights[active].sum(0)
    if learn:
        _after_image(config, constants, state, weights, theta, spiked >= 0, image)
    return winners


def offset(config: StdpConfig, drawn: NDArray[np.uint32], bits: int) -> Whole:
    """What is added before `bits` bits are shifted away."""
    rounding = "" if config.bits is None else config.bits.rounding
    if rounding == "stochastic":
        return drawn.astype(np.int64) >> (32 - bits)
    return np.full(drawn.shape, (1 << bits) >> 1 if rounding == "nearest" else 0, np.int64)


def _neuron_word(config: StdpConfig, image: int, step: int, learn: bool) -> NDArray[np.uint32]:
    return words(config.seed, NEURONS if learn else RESPONSE_NEURONS, image, step // 4, 0)[step % 4]


def _learn(
    config: StdpConfig,
    constants: IntegerConstants,
    weights: Whole,
    active: NDArray[np.intp],
    seen: Whole,
    spiked: Whole,
    winner: int,
    step: int,
    image: int,
) -> None:
    shift = constants.update_shift
    fired = np.flatnonzero(spiked >= 0)
    if len(fired) and len(active):
        drawn = spread(words(config.seed, WEIGHTS, image, step, active)[0][:, None], fired)
        traces = constants.trace[step - spiked[fired]].astype(np.int64)
        place = np.ix_(active, fired)
        weights[place] -= (constants.down * traces + offset(config, drawn, shift)) >> shift
    if winner != NO_SPIKE:
        inputs = np.flatnonzero(seen >= 0)
        drawn = spread(words(config.seed, WEIGHTS, image, step, inputs)[1], winner)
        traces = constants.trace[step - seen[inputs]].astype(np.int64)
        weights[inputs, winner] += (constants.up * traces + offset(config, drawn, shift)) >> shift
        weights[inputs, winner] = np.clip(weights[inputs, winner], 0, constants.levels)
    if len(fired) and len(active):
        weights[place] = np.clip(weights[place], 0, constants.levels)


def _after_image(
    config: StdpConfig,
    constants: IntegerConstants,
    state: State,
    weights: Whole,
    theta: Whole,
    learned: NDArray[np.bool_],
    image: int,
) -> None:
    row = words(config.seed, WEIGHTS, image, config.steps, np.arange(config.inputs, dtype=np.uint32))[2]
    for neuron in np.flatnonzero(learned):
        total = int(weights[:, neuron].sum())
        if total > constants.limit:
            factor = (constants.target << RESCALE_BITS) // total
            added = offset(config, spread(row, neuron), RESCALE_BITS)
            weights[:, neuron] = (weights[:, neuron] * factor + added) >> RESCALE_BITS
    state.scale[learned] = scales(config, weights.sum(0))[learned]
    word = words(config.seed, NEURONS, image, 0, 1)[0]
    added = offset(config, spread(word, np.arange(config.neurons, dtype=np.uint32)), 32)
    theta -= (theta * constants.theta_decay + added) >> 32
    state.weights[...] = weights
    state.theta[...] = theta
    state.images += 1
