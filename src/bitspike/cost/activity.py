"""How busy and how balanced each layer is: what weight-spike dual regulation (WS-DR) changes.

A 1-bit weight and a spike each carry at most ln 2 = 0.693 nats, reached when both values are equally
likely; Q-SNN plots the two shares per layer before and after WS-DR. Left out: all dependence between
weights, between neurons and between steps, so an entropy here is an upper bound of the information.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def bernoulli_entropy(p: float) -> float:
    """H(p) = -(p ln p + (1 - p) ln(1 - p)) in nats; 0 at both ends."""
    if not 0 <= p <= 1:
        raise ValueError(f"p is {p}; a share lies between 0 and 1.")
    return float(-sum(share * np.log(share) for share in (p, 1 - p) if share > 0)) + 0.0


def sign_balance(weights: ArrayLike) -> float:
    """Share of weights that quantize to +1; a weight of exactly 0 counts as +1, as everywhere here.

    Give the values that are quantized: after WS-DR's normalization where it is used.
    """
    values = np.asarray(weights)
    if values.size == 0:
        raise ValueError("weights is empty; give the weights of one layer.")
    if np.isnan(values).any():
        raise ValueError("weights contains NaN, which has no sign; check the training run.")
    return float(np.mean(values >= 0))


def firing_rate(spikes: ArrayLike) -> float:
    """Spikes per neuron and step: the mean over all axes of an array of 0 and 1, [T, B, ...]."""
    values = np.asarray(spikes)
    if values.size == 0:
        raise ValueError("spikes is empty; give the spikes of one layer.")
    if not np.isin(values, (0, 1)).all():
        raise ValueError("spikes holds values other than 0 and 1; give the output of a spiking layer.")
    return float(np.mean(values, dtype=np.float64))


@dataclass(frozen=True)
class LayerActivity:
    """Firing rate, share of positive weights and the entropy of each (nats), for one layer."""

    name: str
    firing_rate: float
    sign_balance: float
    spike_entropy: float
    weight_entropy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def layer_activity(name: str, rate: float, weights: ArrayLike) -> LayerActivity:
    """The activity row of one layer from its measured firing rate and its weights."""
    balance = sign_balance(weights)
    return LayerActivity(name, rate, balance, bernoulli_entropy(rate), bernoulli_entropy(balance))


def activity_change(before: Sequence[LayerActivity], after: Sequence[LayerActivity]) -> list[dict[str, Any]]:
    """One plain row per layer with both states side by side, as the paper plots WS-DR."""
    if [row.name for row in before] != [row.name for row in after]:
        raise ValueError(
            f"before has layers {[row.name for row in before]}, after has {[row.name for row in after]}; "
            "compare two trainings of the same network."
        )
    return [
        {"name": old.name, "before": old.to_dict(), "after": new.to_dict()}
        for old, new in zip(before, after, strict=True)
    ]
