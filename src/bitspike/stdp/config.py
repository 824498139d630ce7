"""Every constant of the unsupervised network: Diehl and Cook's, as BindsNET's `DiehlAndCook2015` has them.

Times are in milliseconds, potentials in millivolts, intensities in hertz of a pixel of 255.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Topology = Literal["direct", "two-population"]
Winner = Literal["lowest", "strongest"]
Rounding = Literal["truncation", "nearest", "stochastic"]

MOST_NEURONS = 1 << 15
MOST_INPUTS = 1 << 16
MOST_STEPS = 1 << 15


@dataclass(frozen=True)
class StdpBits:
    """Widths of the integer network; docs/explanation/stdp.md has its arithmetic.

    weight            bits of a weight, 1 to 16, unsigned; each neuron has a scale of its own
    membrane          bits of the stored potential, 6 to 16, signed
    threshold         bits of the adaptive part of the threshold, 6 to 16, unsigned
    trace             bits of a spike's trace, 2 to 8, unsigned
    scale             bits of a neuron's scale, 8 to 16, unsigned
    rounding          of weights in the learning rule and while they are normalized, and of the neurons' state
    membrane_range    the potential saturates at so many mV above and below rest, a power of two
    threshold_range   the adaptive part saturates at so many mV, a power of two
    ceiling           what the highest level of a weight is worth while its neuron's weights have their usual sum
    slack             weights are scaled down once their sum is so many times the usual one
    """

    weight: int = 4
    membrane: int = 16
    threshold: int = 16
    trace: int = 8
    scale: int = 16
    rounding: Rounding = "stochastic"
    membrane_range: float = 256.0
    threshold_range: float = 256.0
    ceiling: float = 1.0
    slack: float = 1.25

    def __post_init__(self) -> None:
        for name, low, high in (
            ("weight", 1, 16),
            ("membrane", 6, 16),
            ("threshold", 6, 16),
            ("trace", 2, 8),
            ("scale", 8, 16),
        ):
            _whole(f"bits.{name}", getattr(self, name), low, high)
        _one_of("bits.rounding", self.rounding, get_args(Rounding))
        for name in ("membrane_range", "threshold_range"):
            value = getattr(self, name)
            if not 16 <= value <= 4096 or math.frexp(value)[0] != 0.5:
                raise ValueError(f"bits.{name} is {value:g}; give a power of two from 16 to 4096 (mV)")
        if not 0 < self.ceiling <= 1:
            raise ValueError(f"bits.ceiling is {self.ceiling:g}; give more than 0, up to 1")
        if not 1 <= self.slack <= 4:
            raise ValueError(f"bits.slack is {self.slack:g}; give 1 to 4")


@dataclass(frozen=True)
class StdpConfig:
    """The network and how it learns; `bits` None is the float network.

    topology       "direct": a spike inhibits all other neurons a step later; "two-population": through inhibitory
                   neurons, two steps later
    winner         which neuron spikes of those that reach their thresholds in one step: the one of the lowest index, or
                   the one farthest above its threshold
    norm           sum of a neuron's weights after every image
    rate_pre, rate_post   of depression at an input's spike and of potentiation at a neuron's
    """

    inputs: int = 784
    neurons: int = 400
    steps: int = 250
    dt: float = 1.0
    topology: Topology = "two-population"
    winner: Winner = "strongest"
    seed: int = 0
    intensity: float = 128.0
    rest: float = -65.0
    reset: float = -60.0
    threshold: float = -52.0
    refractory: float = 5.0
    membrane_tau: float = 100.0
    trace_tau: float = 20.0
    theta_plus: float = 0.05
    theta_tau: float = 1e7
    inhibition: float = 120.0
    excitation: float = 22.5
    inhibitory_rest: float = -60.0
    inhibitory_reset: float = -45.0
    inhibitory_threshold: float = -40.0
    inhibitory_refractory: float = 2.0
    rate_pre: float = 1e-4
    rate_post: float = 1e-2
    initial_weight: float = 0.3
    norm: float = 78.4
    bits: StdpBits | None = None

    def __post_init__(self) -> None:
        _whole("inputs", self.inputs, 1, MOST_INPUTS)
        _whole("neurons", self.neurons, 1, MOST_NEURONS)
        _whole("steps", self.steps, 1, MOST_STEPS)
        _whole("seed", self.seed, 0, 2**32 - 1)
        _one_of("topology", self.topology, get_args(Topology))
        _one_of("winner", self.winner, get_args(Winner))
        for name in ("dt", "membrane_tau", "trace_tau", "theta_tau", "norm", "initial_weight"):
            _real(name, getattr(self, name), positive=True)
        for name in ("intensity", "refractory", "theta_plus", "inhibition", "rate_pre", "rate_post"):
            _real(name, getattr(self, name), positive=False)
        if self.intensity * self.dt > 1000:
            raise ValueError(
                f"intensity is {self.intensity:g} Hz at steps of {self.dt:g} ms; a step holds one spike, "
                f"so at most {1000 / self.dt:g} Hz are possible"
            )
        if not self.rest <= self.reset < self.threshold:
            raise ValueError(
                f"rest, reset and threshold are {self.rest:g}, {self.reset:g} and {self.threshold:g} mV; "
                "give rest <= reset < threshold"
            )
        if self.norm > self.inputs:
            raise ValueError(
                f"norm is {self.norm:g} for {self.inputs} inputs, but a weight is 1 at most; give at most that, "
                f"such as {0.1 * self.inputs:g}"
            )
        self._refuse_weak_inhibitory_neurons()

    def _refuse_weak_inhibitory_neurons(self) -> None:
        """An inhibitory neuron must spike exactly at its neuron's spikes: the population is a delay of one step."""
        if self.topology == "direct":
            return
        if self.inhibitory_rest + self.excitation < self.inhibitory_threshold:
            raise ValueError(
                f"excitation is {self.excitation:g} mV, but an inhibitory neuron needs "
                f"{self.inhibitory_threshold - self.inhibitory_rest:g} mV to spike at one spike; give at least that, "
                'or topology "direct"'
            )
        if not self.inhibitory_rest <= self.inhibitory_reset < self.inhibitory_threshold:
            raise ValueError("give inhibitory_rest <= inhibitory_reset < inhibitory_threshold")
        if self.inhibitory_refractory > self.refractory:
            raise ValueError(
                f"inhibitory_refractory is {self.inhibitory_refractory:g} ms, longer than refractory "
                f"({self.refractory:g} ms): an inhibitory neuron would miss spikes; give at most as much"
            )

    @property
    def delay(self) -> int:
        """Steps from a spike until it inhibits the other neurons."""
        return 1 if self.topology == "direct" else 2

    @property
    def refractory_steps(self) -> int:
        """Steps after a spike in which a neuron ignores its input."""
        return math.ceil(self.refractory / self.dt)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> StdpConfig:
        """The configuration of plain data; an unknown name is refused."""
        known = {item.name for item in fields(cls)}
        _refuse_unknown(given, known, "")
        values = dict(given)
        bits = values.get("bits")
        if isinstance(bits, Mapping):
            _refuse_unknown(bits, {item.name for item in fields(StdpBits)}, "bits.")
            values["bits"] = StdpBits(**bits)
        elif bits is not None and not isinstance(bits, StdpBits):
            raise ValueError(f"bits is {bits!r}; give a table of widths, such as weight = 4, or leave it out for float")
        return cls(**values)


def _refuse_unknown(given: Mapping[str, Any], known: set[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"there is no setting {where}{name}; allowed: {', '.join(sorted(known))}")


def _whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}; give a whole number from {low} to {high}")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}; give {low} to {high}")


def _real(name: str, value: Any, *, positive: bool) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} is {value!r}; give a number")
    if not math.isfinite(value) or value < 0 or (positive and value == 0):
        raise ValueError(f"{name} is {value:g}; give a finite number {'above 0' if positive else 'of at least 0'}")


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
