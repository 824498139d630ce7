"""Parameters of a block: a layer's weights and batch norm, behind them neurons that scale and shift their input.

Neurons of other libraries take gain * current + drive; a block's take the current, so both go into its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bitspike.block.fold import GAIN_FLOOR
from bitspike.imports.layers import Norm, Weighted


@dataclass(frozen=True)
class Scaled:
    """Parameters by their names in a block, and its input_scale."""

    parameters: dict[str, Tensor]
    scale: float


def with_norm(weights: Weighted, norm: Norm) -> Weighted:
    """The same with the norm's constants in weight and bias."""
    unit = norm.gamma / torch.sqrt(norm.variance + norm.eps)
    bias = torch.zeros_like(unit) if weights.bias is None else weights.bias
    return replace(weights, weight=_rows(weights.weight, unit), bias=(bias - norm.mean) * unit + norm.beta)


def scaled(weights: Weighted, norm: Norm | None, gain: Tensor, drive: Tensor, scale: float) -> Scaled:
    """Of a layer whose inputs are `scale` each and whose neurons take gain * current + drive."""
    weight = weights.weight
    found: dict[str, Tensor] = {}
    bias = weights.bias
    if norm is None:
        if gain.numel() == 1 and float(gain) > 0:
            scale *= float(gain)  # no weight is touched
        else:
            weight = _rows(weight, gain.expand(len(weight)))
        if bias is not None or bool(drive.any()):
            found["bias"] = (torch.zeros(len(weight)) if bias is None else bias) * gain + drive
        return Scaled({"weight": weight, **found}, scale)
    gamma = norm.gamma * gain
    # A gain never comes near zero in our blocks; where it does here, the weights take it in.
    held = torch.where(gamma < 0, gamma.clamp_max(-GAIN_FLOOR), gamma.clamp_min(GAIN_FLOOR))
    ratio = gamma / held
    weight = _rows(weight, ratio)
    if bias is not None:
        found["bias"] = bias * ratio
    found |= {"norm.weight": held, "norm.bias": norm.beta * gain + drive}
    found |= {"norm.running_mean": norm.mean * ratio, "norm.running_var": norm.variance}
    return Scaled({"weight": weight, **found}, scale)


def scaled_pair(
    main: tuple[Weighted, Norm | None, Tensor, float], side: tuple[Weighted, Norm | None, Tensor, float], drive: Tensor
) -> Scaled:
    """Of two convolutions whose sum the neurons take: of each its weights, norm, gain, and what an input of it is.

    Where both have a batch norm they keep it. Else one scale holds for both, and norms go into the weights.
    """
    (weights, norm, gain, scale), (side_weights, side_norm, side_gain, side_scale) = main, side
    none = torch.zeros_like(drive)
    if norm is not None and side_norm is not None:
        if side_weights.bias is not None:  # a block's skip has no bias of its own
            side_norm = replace(side_norm, mean=side_norm.mean - side_weights.bias)
        side_weights = replace(side_weights, weight=side_weights.weight * side_scale, bias=None)
        found = scaled(weights, norm, gain, drive, scale)
        joining = scaled(side_weights, side_norm, side_gain, none, 1.0)
        return Scaled(found.parameters | _as_skip(joining.parameters), found.scale)
    both = []
    for part, own, factor, unit in (main, side):
        whole = part if own is None else with_norm(part, own)
        rows = factor.expand(len(whole.weight))
        bias = rows * (0.0 if whole.bias is None else whole.bias)
        both.append((_rows(whole.weight * unit, rows), bias))
    (weight, bias), (side_weight, side_bias) = both
    bias = bias + side_bias + drive
    parameters = {"weight": weight, "skip_weight": side_weight}
    return Scaled(parameters | ({"bias": bias} if bool(bias.any()) else {}), 1.0)


def _as_skip(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"skip_{name}": value for name, value in parameters.items()}


def _rows(weight: Tensor, factor: Tensor) -> Tensor:
    """weight [C, ...] times factor [C]."""
    return weight * factor.reshape(-1, *(1,) * (weight.dim() - 1))
