"""How the membrane of one layer leaks, fires, resets and is stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bitspike.spec.checks import FLOAT_BITS, MAX_LEAK_EXPONENT, check_bits, check_choice, check_seed, refuse


def parse_leak(value: object, *, shifts: bool = True) -> Fraction:
    """The leak as a fraction; with `shifts` one of k / 2^e, the only leaks that integers can express with a shift."""
    try:
        leak = Fraction(str(value)) if isinstance(value, str | int | float | Fraction) else None
    except (ValueError, ZeroDivisionError):
        leak = None
    allowed = f'k / 2^e from 0 to 1 with e <= {MAX_LEAK_EXPONENT}, such as "1/2", "7/8" or 0.5'
    if leak is None or not 0 <= leak <= 1:
        raise refuse("membrane.leak", value, allowed if shifts else "a number from 0 to 1")
    if shifts and nearest_leak(leak) != leak:
        raise refuse("membrane.leak", value, f"{allowed}; the nearest is {nearest_leak(leak)}")
    return leak


def nearest_leak(leak: Fraction, bits: int = MAX_LEAK_EXPONENT) -> Fraction:
    """The nearest of the leaks k / 2^bits; half way between two the larger, as the package rounds everywhere."""
    return Fraction(math.floor(leak * 2**bits + Fraction(1, 2)), 2**bits)


@dataclass(frozen=True)
class MembraneSpec:
    """How the membrane of one layer leaks, fires, resets and is stored.

    bits       2 to 16 for the stored potential (levels -n..n, n = 2^(bits-1) - 1), or 32 for float
    rounding   nearest (half up), floor or stochastic, of the stored potential
    reset      hard (to zero) or soft (subtract the threshold, or what `subtract` says)
    leak       the factor tau kept from one step to the next; k / 2^e, at 32 bits any from 0 to 1
    threshold  v: a neuron fires at v and above; where it is strict above v only
    range      alpha, the largest potential that can be stored; by default (None, or "threshold") the threshold
    form       static: a fixed power-of-two step per channel; dynamic: Q-SNN's published tanh and batch
               maximum, for training comparisons only (it has no integer form)
    seed       of the stochastic rounding
    subtract   what a soft reset takes away; by default (None, or "threshold") the threshold. snnTorch's reset, one
               step later and behind the leak, is v / leak
    strict     a neuron does not fire at v itself, as snnTorch's and NIR's
    threshold_bits   2 to 16 for every channel's threshold and rounding constants, to which batch norm and bias come
               down, in fixed point with one step a layer; 32 keeps them exact. Not seen by the training form
    """

    bits: int = FLOAT_BITS
    rounding: str = "nearest"
    reset: str = "hard"
    leak: Fraction = Fraction(1, 2)
    threshold: float = 1.0
    range: float | None = None
    form: str = "static"
    seed: int = 0
    subtract: float | None = None
    strict: bool = False
    threshold_bits: int = FLOAT_BITS

    def __post_init__(self) -> None:
        check_bits("membrane", self.bits, 2, 16)
        check_bits("membrane", self.threshold_bits, 2, 16, "threshold_bits")
        for name in ("rounding", "reset", "form"):
            check_choice("membrane", name, getattr(self, name))
        object.__setattr__(self, "leak", parse_leak(self.leak, shifts=not self.is_float))
        for name in ("threshold", "range"):
            value = getattr(self, name)
            if name == "range" and value in (None, "threshold"):
                object.__setattr__(self, name, None)
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < float(value) < float("inf"):
                raise refuse(f"membrane.{name}", value, "a positive number")
            object.__setattr__(self, name, float(value))
        check_seed("membrane", self.seed)
        if self.form == "dynamic" and self.rounding == "stochastic":
            raise refuse("membrane.rounding with form dynamic", self.rounding, "nearest, floor")
        self._check_reset()

    def _check_reset(self) -> None:
        if not isinstance(self.strict, bool):
            raise refuse("membrane.strict", self.strict, "true, false")
        amount = self.subtract
        if amount is None or str(amount) == "threshold":
            object.__setattr__(self, "subtract", None)
            return
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 <= float(amount) < float("inf"):
            raise refuse("membrane.subtract", amount, "zero, a positive number, or threshold")
        # A hard reset does not read it, so descriptions that compute the same are equal.
        object.__setattr__(self, "subtract", float(amount) if self.reset == "soft" else None)

    @property
    def subtracted(self) -> float:
        """What a soft reset takes away."""
        return self.threshold if self.subtract is None else self.subtract

    @property
    def resets_behind_leak(self) -> bool:
        """Whether the reset is as if the threshold were taken away one step later: `subtract` is v / leak."""
        late = self.subtract is not None and self.leak < 1
        return late and math.isclose(self.subtracted * float(self.leak), self.threshold, rel_tol=1e-6)

    @property
    def is_float(self) -> bool:
        """Whether the stored membrane stays in floating point."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """n: the stored potential is one of -n..n."""
        return (1 << (self.bits - 1)) - 1

    @property
    def leak_numerator(self) -> int:
        """k of tau = k / 2^e."""
        return self.leak.numerator

    @property
    def leak_exponent(self) -> int:
        """e of tau = k / 2^e."""
        return self.leak.denominator.bit_length() - 1


NEURON_FIELDS = ("reset", "leak", "threshold", "subtract", "strict")
"""Fields that say how a neuron computes, not how it is stored."""


def neuron_fields(spec: MembraneSpec) -> dict[str, Any]:
    """How a neuron computes, as plain data; fields that only some neurons have are named for those."""
    found: dict[str, Any] = {"reset": spec.reset, "leak": str(spec.leak), "threshold": spec.threshold}
    if spec.subtract is not None:
        found["subtract"] = spec.subtract
    if spec.strict:
        found["strict"] = True
    return found
