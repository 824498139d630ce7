"""Weight grids: latent float weights to integer codes and a positive scale.

Every grid is a pure function (weight, spec, progress) -> QuantizedWeight; the real weight is codes * scale.
New grids join with `register_grid` and an entry of `spec.WEIGHT_GRIDS`. The odd grid has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bitspike.quant.gamma import SCALE_FLOOR
from bitspike.quant.rounding import round_half_up, straight_through
from bitspike.quant.sign import SIGN_GRADIENTS
from bitspike.spec import WeightSpec


class QuantizedWeight(NamedTuple):
    """Integer codes (in a float tensor, carrying the straight-through gradient) and their scale.

    codes [C_out, ...]; scale [C_out], positive, equal in all channels for a per-layer spec; detached, but where it
    is learned.
    """

    codes: Tensor
    scale: Tensor


Grid = Callable[..., QuantizedWeight]
_GRIDS: dict[str, Grid] = {}


def register_grid(name: str) -> Callable[[Grid], Grid]:
    """Register a grid under the name that `WeightSpec.grid` uses.

    It is called with weight, spec and progress; for a spec whose scale is learned also with the parameter, gamma.
    """

    def add(grid: Grid) -> Grid:
        _GRIDS[name] = grid
        return grid

    return add


def quantize_weight(
    weight: Tensor, spec: WeightSpec, progress: float = 1.0, gamma: Tensor | None = None
) -> QuantizedWeight:
    """Codes and scale of a weight [C_out, ...]; `progress` (0 to 1) sharpens annealed gradients.

    gamma: the parameter of a learned scale, [C_out] or [1]; others need none.
    At 32 bits the codes are the weights themselves and the scale is one.
    """
    if spec.is_float:
        return QuantizedWeight(weight, weight.new_ones(weight.shape[0]))
    normal = normalize_weight(weight, spec.normalize)
    if not spec.is_learned:
        return _GRIDS[spec.grid](normal, spec, progress)
    if gamma is None:
        raise ValueError(
            "the scale is learned, but there is no parameter for it; quantize_(net, spec) makes one for every layer "
            "that needs it"
        )
    return _GRIDS[spec.grid](normal, spec, progress, gamma)


def normalize_weight(weight: Tensor, how: str) -> Tensor:
    """(w - mean) / deviation over each output channel or over the layer; differentiable.

    Q-SNN standardizes per layer in the paper and per channel, with the unbiased deviation, in its code.
    """
    if how == "none":
        return weight
    axes = tuple(range(0 if how == "layer" else 1, weight.dim()))
    # In float64, or the order in which a machine sums would decide the sign of weights near the mean.
    centred = weight.double() - weight.double().mean(axes, keepdim=True)
    count = centred.numel() // (1 if how == "layer" else weight.shape[0])
    variance = centred.square().sum(axes, keepdim=True) / max(count - 1, 1)
    return (centred / (variance.sqrt() + SCALE_FLOOR)).to(weight.dtype)


def magnitude(weight: Tensor, per: str, reduce: str) -> Tensor:
    """Mean or largest |w| of every output channel, or of the layer, [C_out], held above the floor."""
    flat = weight.detach().double().abs().flatten(1)
    flat = flat.reshape(1, -1) if per == "layer" else flat
    found = flat.mean(1) if reduce == "mean" else flat.amax(1)
    return found.clamp_min(SCALE_FLOOR).to(weight.dtype).expand(weight.shape[0])


def spread(scale: Tensor, like: Tensor) -> Tensor:
    """[C_out] shaped to meet a weight [C_out, ...]."""
    return scale.reshape(-1, *(1,) * (like.dim() - 1))


@register_grid("binary")
def binary(weight: Tensor, spec: WeightSpec, progress: float) -> QuantizedWeight:
    """codes = sign(w) with sign(0) = +1;  scale = mean |w|, or 2^round(log2(mean |w|)).

    Q-SNN, section 3.2; the power of two is its published code. Departure: sign(0) is +1 as in the paper,
    where the code has 0. Gradient: see `sign.clipped` and `sign.annealed_tanh`; none into the scale.
    """
    codes = SIGN_GRADIENTS[spec.gradient](weight, progress)
    scale = magnitude(weight, spec.per, "mean")
    if spec.scale == "power_of_two":
        scale = torch.exp2(round_half_up(torch.log2(scale)))
    return QuantizedWeight(codes, scale)


@register_grid("twos_complement")
def twos_complement(weight: Tensor, spec: WeightSpec, progress: float) -> QuantizedWeight:
    """scale = max |w| / n;  codes = clamp(floor(w / scale + 1/2), -n, n),  n = 2^(bits-1) - 1.

    The most negative code stays unused, which keeps the grid symmetric. Q-SNN's 8-bit ends, with the largest
    magnitude where its code takes the largest signed value and overflows. Gradient: d codes / d w = 1 / scale.
    """
    levels = 2 ** (spec.bits - 1) - 1
    scale = (magnitude(weight, spec.per, "max") / levels).clamp_min(SCALE_FLOOR)
    ratio = weight / spread(scale, weight)
    codes = round_half_up(ratio.detach()).clamp(-levels, levels)
    return QuantizedWeight(straight_through(codes, ratio), scale)
