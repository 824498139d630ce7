"""Quantizing a network and keeping the neurons it was trained with: leak, threshold and reset of every layer."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from torch import nn

from bitspike.block import SpikingBlock, blocks_of
from bitspike.spec import MembraneSpec, Override, QuantSpec, nearest_leak


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


def keep_neurons(net: nn.Module, spec: QuantSpec | str | Mapping[str, Any]) -> QuantSpec:
    """The quantization with every layer's own leak, threshold and reset in it; give it to `quantize_`.

    Where the membrane gets fewer than 32 bits, leaks are rounded to the nearest k / 256; a reset behind the leak then
    subtracts threshold / (rounded leak). What an override of `spec` says itself stays.
    """
    chosen = spec if isinstance(spec, QuantSpec) else QuantSpec.from_dict(spec)
    overrides = []
    for name, block in blocks_of(net):
        if not isinstance(block, SpikingBlock):
            continue
        own = next((item for item in chosen.overrides if fnmatch.fnmatchcase(name, item.pattern)), Override(name))
        bits = dict(own.membrane).get("bits", chosen.membrane.bits)
        membrane = _fields(block.membrane_spec, rounded=bits != 32) | dict(own.membrane)
        overrides.append(Override(name, own.weight, tuple(membrane.items())))
    exact = {item.pattern for item in overrides}
    rest = tuple(item for item in chosen.overrides if item.pattern not in exact)
    return QuantSpec(chosen.weight, chosen.membrane, chosen.ends, (*overrides, *rest))


def _fields(spec: MembraneSpec, *, rounded: bool) -> dict[str, Any]:
    found = neuron_fields(spec)
    if not rounded:
        return found
    leak = rounded_leak(spec)
    delayed = spec.subtract is not None and math.isclose(spec.subtract * float(spec.leak), spec.threshold, rel_tol=1e-6)
    if delayed and leak > 0:
        found["subtract"] = spec.threshold / float(leak)
    return found | {"leak": str(leak)}
