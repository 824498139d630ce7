"""The configuration as numbers of a step: floats, and the integers of the quantized network.

The integers are computed here once and travel with the network's file, so no other machine computes an exponential.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp.config import StdpBits, StdpConfig

LEAK_BITS = 14
THETA_BITS = 8
RESCALE_BITS = 16


@dataclass(frozen=True)
class IntegerConstants:
    """What the integer step needs; docs/explanation/stdp.md has the equations.

    One unit of the membrane is 2^-fraction mV; a decision is made in units of 2^-(fraction + 14) mV.

    levels            highest weight
    target, limit     usual sum of a neuron's weights; the sum beyond which they are scaled down to it
    numerator         a neuron's scale is round(numerator / sum of its weights), at most scale_most
    scale_shift       current = (sum of active weights * scale) >> scale_shift
    leak              of 2^14
    highest, lowest   of the stored membrane
    reset, inhibition   in units of the membrane
    threshold         in units of a decision; theta is shifted left by theta_shift to be in them
    theta_plus        with 8 fraction bits; theta_most: where theta saturates
    theta_decay       of 2^32, per image
    update_shift      F: an update is (up * trace) / 2^F levels, or (down * trace) / 2^F
    trace             by steps since the spike, [T + 1]
    """

    levels: int
    target: int
    limit: int
    numerator: int
    scale_most: int
    scale_shift: int
    leak: int
    highest: int
    lowest: int
    reset: int
    inhibition: int
    threshold: int
    theta_shift: int
    theta_plus: int
    theta_most: int
    theta_decay: int
    update_shift: int
    up: int
    down: int
    trace: NDArray[np.int32]


def integer_constants(config: StdpConfig) -> IntegerConstants:
    """The integers of a configuration that has bits; widths that do not fit one another are refused."""
    bits = config.bits
    if bits is None:
        raise ValueError("the network is a float one; give it bits")
    levels = 2**bits.weight - 1
    steps_of_one = levels / bits.ceiling
    target = round(config.norm * steps_of_one)
    if target < 1:
        raise ValueError(
            f"norm is {config.norm:g}: the weights of {bits.weight} bits would all be 0; give a larger one"
        )
    if config.theta_plus >= bits.threshold_range:
        raise ValueError(
            f"theta_plus is {config.theta_plus:g} mV, but bits.threshold_range is {bits.threshold_range:g} mV; "
            "give a larger range or less"
        )
    fraction = bits.membrane - 1 - round(math.log2(bits.membrane_range))
    unit = 2.0**fraction
    half = 2 ** (bits.membrane - 1)
    scale_shift = max(0, math.floor(bits.scale - 2 - math.log2(config.norm * unit / target)))
    strongest = max(config.rate_post, config.rate_pre, 1e-9) * steps_of_one
    update_shift = min(28, math.floor(30 - math.log2(strongest)))
    traces = 2**bits.trace - 1
    theta_fraction = round(math.log2(theta_units(bits)))
    steps = np.arange(config.steps + 1)
    return IntegerConstants(
        levels=levels,
        target=target,
        limit=math.floor(target * bits.slack),
        numerator=round(config.norm * unit * 2**scale_shift),
        scale_most=2**bits.scale - 1,
        scale_shift=scale_shift,
        leak=round(math.exp(-config.dt / config.membrane_tau) * 2**LEAK_BITS),
        highest=half - 1,
        lowest=-half,
        reset=min(half - 1, round((config.reset - config.rest) * unit)),
        inhibition=min(half, round(config.inhibition * unit)),
        threshold=_threshold(config, bits, unit),
        theta_shift=_theta_shift(bits, fraction, theta_fraction),
        theta_plus=round(config.theta_plus * 2.0 ** (theta_fraction + THETA_BITS)),
        theta_most=2**bits.threshold - 1,
        theta_decay=round(-math.expm1(-config.steps * config.dt / config.theta_tau) * 2**32),
        update_shift=update_shift,
        up=round(config.rate_post * steps_of_one * 2.0**update_shift / traces),
        down=round(config.rate_pre * steps_of_one * 2.0**update_shift / traces),
        trace=np.round(np.exp(-steps * config.dt / config.trace_tau) * traces).astype(np.int32),
    )


def theta_units(bits: StdpBits) -> float:
    """How many units of the adaptive threshold are a mV."""
    return float(2.0**bits.threshold / bits.threshold_range)


def _threshold(config: StdpConfig, bits: StdpBits, unit: float) -> int:
    above = config.threshold - config.rest
    if above >= bits.membrane_range:
        raise ValueError(
            f"the threshold lies {above:g} mV above rest, outside bits.membrane_range ({bits.membrane_range:g} mV); "
            "give a larger range"
        )
    return round(above * unit * 2.0**LEAK_BITS)


def _theta_shift(bits: StdpBits, fraction: int, theta_fraction: int) -> int:
    if bits.threshold_range > bits.membrane_range:
        raise ValueError(
            f"bits.threshold_range is {bits.threshold_range:g} mV, but no potential passes bits.membrane_range "
            f"({bits.membrane_range:g} mV); give at most that"
        )
    shift = LEAK_BITS + fraction - theta_fraction
    if shift < 0:
        raise ValueError(
            f"bits.threshold is {bits.threshold}, too fine for a membrane of {bits.membrane} bits over "
            f"{bits.membrane_range:g} mV; give up to {bits.threshold + shift}"
        )
    return shift


@dataclass(frozen=True)
class FloatConstants:
    """The constants of the float step in one float type; potentials are above rest. trace: [T + 1]."""

    leak: np.floating
    reset: np.floating
    threshold: np.floating
    inhibition: np.floating
    theta_plus: np.floating
    theta_leak: np.floating
    rate_pre: np.floating
    rate_post: np.floating
    norm: np.floating
    trace: NDArray[np.floating]


def float_constants(config: StdpConfig, kind: type[np.floating] = np.float32) -> FloatConstants:
    """The float constants; the trace is decayed step by step in the same type, as a simulation would."""
    trace = np.ones(config.steps + 1, kind)
    decay = kind(math.exp(-config.dt / config.trace_tau))
    for step in range(config.steps):
        trace[step + 1] = trace[step] * decay
    return FloatConstants(
        leak=kind(math.exp(-config.dt / config.membrane_tau)),
        reset=kind(config.reset - config.rest),
        threshold=kind(config.threshold - config.rest),
        inhibition=kind(config.inhibition),
        theta_plus=kind(config.theta_plus),
        theta_leak=kind(math.exp(-config.dt / config.theta_tau)),
        rate_pre=kind(config.rate_pre),
        rate_post=kind(config.rate_post),
        norm=kind(config.norm),
        trace=trace,
    )
