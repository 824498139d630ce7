"""Weight grids: latent float weights to integer codes and a positive scale.

Every grid is a pure function (weight, spec, progress) -> QuantizedWeight; the real weight is codes * scale.
New grids join with `register_grid` and an entry of `spec.WEIGHT_GRIDS`. The odd grid has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from bitspike.integer.threefry import random_offsets
from bitspike.quant.gamma import SCALE_FLOOR, fixed_gamma, magnitude
from bitspike.quant.rounding import ceil_log2, round_half_up, straight_through
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

    It is called with weight, spec and progress; for a spec whose scale is learned also with the parameter, gamma; for
    one with stochastic rounding also with the noise, as large as the weight.
    """

    def add(grid: Grid) -> Grid:
        _GRIDS[name] = grid
        return grid

    return add


def quantize_weight(
    weight: Tensor, spec: WeightSpec, progress: float = 1.0, gamma: Tensor | None = None, *, fresh: bool = False
) -> QuantizedWeight:
    """Codes and scale of a weight [C_out, ...]; `progress` (0 to 1) sharpens annealed gradients.

    gamma: the parameter of a learned scale, [C_out] or [1]; others need none. fresh: draw the noise of stochastic
    rounding anew, as training does at every step, instead of the spec's own, which is always the same.
    At 32 bits the codes are the weights themselves and the scale is one.
    """
    if spec.is_float:
        return QuantizedWeight(weight, weight.new_ones(weight.shape[0]))
    normal = normalize_weight(weight, spec.normalize)
    if spec.rounding == "stochastic":
        noise = torch.rand_like(normal) if fresh else seeded_noise(normal, spec.seed)
        return _GRIDS[spec.grid](normal, spec, progress, noise=noise)
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
def twos_complement(weight: Tensor, spec: WeightSpec, progress: float, noise: Tensor | None = None) -> QuantizedWeight:
    """codes = clamp(floor(w / scale + o), -n, n),  n = 2^(bits-1) - 1;  o = 1/2 nearest, 0 floor, noise stochastic.

    scale = gamma / n with gamma the largest |w| (abs_max), a percentile or the one of least squared error (mse), or
    2^-f (power_of_two: fixed point Qi.f, i = bits - f): f as given, or the largest with n * 2^-f >= the largest |w|.

    The most negative code stays unused, which keeps the grid symmetric. Q-SNN's 8-bit ends, with the largest
    magnitude where its code takes the largest signed value and overflows; Q-SpiNN's fixed point and its three ways
    to round, clamped where its authors' public code wraps around. Gradient: d codes / d w = 1 / scale, 0 beyond the
    outermost codes where the scale lets weights lie there; none into the scale.
    """
    levels = spec.largest_code
    scale = _twos_complement_scale(weight, spec, levels)
    ratio = weight / spread(scale, weight)
    offset: float | Tensor = {"nearest": 0.5, "floor": 0.0}.get(spec.rounding, 0.0) if noise is None else noise
    codes = torch.floor(ratio.detach() + offset).clamp(-levels, levels)
    held = ratio if spec.scale == "abs_max" else ratio.clamp(-levels - 0.5, levels + 0.5)
    return QuantizedWeight(straight_through(codes, held), scale)


@torch.no_grad()
def _twos_complement_scale(weight: Tensor, spec: WeightSpec, levels: int) -> Tensor:
    if spec.scale != "power_of_two":
        return (fixed_gamma(weight, spec) / levels).clamp_min(SCALE_FLOOR)
    if spec.fraction is not None:
        return weight.new_full((weight.shape[0],), 2.0 ** -int(spec.fraction))
    reach = magnitude(weight, spec.per, "max").double() / levels
    return torch.exp2(ceil_log2(reach)).clamp_min(SCALE_FLOOR).to(weight.dtype)


def seeded_noise(like: Tensor, seed: int) -> Tensor:
    """Numbers in [0, 1) of 24 bits, one for each weight [C_out, ...]; the same for the same seed, on every machine."""
    drawn = random_offsets(like.shape[0], like[0].numel(), 24, seed=seed, layer=0, step=0)
    return (drawn.to(like.device, like.dtype) * 2.0**-24).reshape(like.shape)
