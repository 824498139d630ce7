"""What a network has learned, and how it begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.randomness import INITIAL, words

Array = NDArray[Any]


@dataclass
class State:
    """The learned part of a network; learning changes it in place.

    weights    [inputs, neurons], float32 (or float64), or uint8 (uint16 above 8 bits)
    theta      [neurons], the adaptive part of the thresholds, in mV or in its integer unit (uint16)
    scale      [neurons], uint16: what a level of a neuron's weights is worth; ones in the float network
    unsettled  [neurons], uint8: the weights are not at their sum, though the neuron did not learn (float network)
    images     how many were learned from
    """

    weights: Array
    theta: Array
    scale: NDArray[np.uint16]
    unsettled: NDArray[np.uint8]
    images: int = field(default=0)

    def copy(self) -> State:
        """A state that shares nothing with this one."""
        return State(self.weights.copy(), self.theta.copy(), self.scale.copy(), self.unsettled.copy(), self.images)


def initial_state(config: StdpConfig, kind: type[np.floating] = np.float32) -> State:
    """Weights uniform in [0, initial_weight); in the quantized network rounded at random, with their usual sum.

    weight[i, j] = initial_weight * word 0 of (seed, INITIAL; counter j, 0, i) / 2^32
    """
    neurons = np.arange(config.neurons, dtype=np.uint32)
    first, second, _, _ = words(config.seed, INITIAL, neurons, 0, np.arange(config.inputs, dtype=np.uint32)[:, None])
    uniform = first / 2.0**32
    if config.bits is None:
        return State(
            (uniform * config.initial_weight).astype(kind),
            np.zeros(config.neurons, kind),
            np.ones(config.neurons, np.uint16),
            np.ones(config.neurons, np.uint8),
        )
    constants = integer_constants(config)
    wanted = uniform * (constants.target / np.maximum(uniform.sum(0), 1e-9))
    levels = np.clip(np.floor(wanted + second / 2.0**32), 0, constants.levels)
    weights = levels.astype(np.uint8 if config.bits.weight <= 8 else np.uint16)
    return State(
        weights,
        np.zeros(config.neurons, np.uint16),
        scales(config, weights.sum(0, dtype=np.int64)),
        np.zeros(config.neurons, np.uint8),
    )


def scales(config: StdpConfig, sums: NDArray[np.int64]) -> NDArray[np.uint16]:
    """round(numerator / sum), at most the largest scale; a neuron without weights gets that."""
    constants = integer_constants(config)
    sums = np.asarray(sums, np.int64)
    divisor = np.maximum(sums, 1)
    found = np.minimum((constants.numerator + divisor // 2) // divisor, constants.scale_most)
    return np.where(sums == 0, constants.scale_most, found).astype(np.uint16)
