"""How a layer's neurons compute, apart from how they are stored."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from bitspike.spec import MembraneSpec, nearest_leak


def neuron_fields(spec: MembraneSpec) -> dict[str, Any]:
    """The fields that say how a neuron computes, not how it is stored; plain data."""
    found: dict[str, Any] = {"reset": spec.reset, "leak": str(spec.leak), "threshold": spec.threshold}
    if spec.subtract is not None:
        found["subtract"] = spec.subtract
    if spec.strict:
        found["strict"] = True
    return found


def rounded_leak(spec: MembraneSpec) -> Fraction:
    """The nearest leak that integers can express."""
    return nearest_leak(spec.leak)
