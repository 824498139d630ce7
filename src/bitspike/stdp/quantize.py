"""A float network that has learned becomes an integer one: quantization after training (PTQ).

    step[j]    = largest weight of neuron j / levels        so every neuron uses all of its levels
    W'[i, j]   = floor(W[i, j] / step[j] + o)                o: 0 truncation, 1/2 nearest, a random number below 1
    theta'     = the same in units of the integer threshold
    scale[j]   = round(numerator / sum(W'[:, j]))

In-training quantization (ITQ) needs no such step: give the configuration `bits` from the beginning.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpBits
from bitspike.stdp.constants import integer_constants, theta_units
from bitspike.stdp.network import StdpNetwork
from bitspike.stdp.randomness import INITIAL, words
from bitspike.stdp.state import State, scales


def quantized(network: StdpNetwork, bits: StdpBits) -> StdpNetwork:
    """The integer network of a float one; its labels are kept, and can be given anew with `assign_labels`."""
    if network.config.bits is not None:
        raise ValueError(f"the network has weights of {network.config.bits.weight} bits already; give a float one")
    config = replace(network.config, bits=bits)
    constants = integer_constants(config)
    weights = network.state.weights.astype(np.float64)
    neurons = np.arange(config.neurons, dtype=np.uint32)
    first, second, _, _ = words(config.seed, INITIAL, neurons, 1, np.arange(config.inputs, dtype=np.uint32)[:, None])
    step = np.maximum(weights.max(0), 1e-12) / constants.levels
    levels = np.clip(_rounded(weights / step, first, bits), 0, constants.levels)
    theta = np.minimum(_rounded(network.state.theta * theta_units(bits), second[0], bits), constants.theta_most)
    state = State(
        levels.astype(np.uint8 if bits.weight <= 8 else np.uint16),
        theta.astype(np.uint16),
        scales(config, levels.sum(0).astype(np.int64)),
        np.zeros(config.neurons, np.uint8),
        network.state.images,
    )
    return StdpNetwork(config, state, network.labels, {"quantized_after_training": True}, network.build)


def _rounded(values: NDArray[np.float64], drawn: NDArray[np.uint32], bits: StdpBits) -> NDArray[np.float64]:
    if bits.rounding == "stochastic":
        return np.floor(values + drawn / 2.0**32)
    return np.floor(values + (0.5 if bits.rounding == "nearest" else 0.0))
