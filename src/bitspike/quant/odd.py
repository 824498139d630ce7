"""The odd uniform grid of QP-SNN: codes ..., -3, -1, 1, 3, ..., 2^bits of them, all as far apart, none of them zero."""

from __future__ import annotations

import torch
from torch import Tensor

from bitspike.quant.gamma import SCALE_FLOOR, fixed_gamma
from bitspike.quant.rounding import straight_through
from bitspike.quant.weights import QuantizedWeight, normalize_weight, register_grid, spread
from bitspike.spec import WeightSpec


@register_grid("odd")
def odd(weight: Tensor, spec: WeightSpec, progress: float, gamma: Tensor | None = None) -> QuantizedWeight:
    """codes = 2 q - s,  q = floor(s / 2 * (clamp(w / gamma, -1, 1) + 1) + 1/2);  scale = gamma / s,  s = 2^bits - 1.

    At 2 bits the weights become -gamma, -gamma / 3, gamma / 3, gamma. The same in fewer roundings:
    codes = 2 floor(s / 2 * clamp(w / gamma, -1, 1)) + 1.

    gamma, by `spec.scale`: mean |w| (QP-SNN's rescaling, ReScaW, and its default); abs_max, the largest |w|;
    percentile, max(|P_(1-x)|, |P_x|); unit, 1 (the uniform quantizer without rescaling, that paper's baseline); mse,
    the one of least squared error (`gamma.least_squares`); learned, the parameter (`learned_gamma`).

    QP-SNN, ICLR 2025, sections 3 and 4.1. Departures: per = "channel" is the default, where the paper has one gamma a
    layer; mse and learned are not in the paper. Gradient: d codes / d w = 1 / scale where |w| <= gamma, else 0, so that
    of the real weight, codes * scale, is 1 or 0; none into gamma, unless it is learned: then
    d codes / d gamma = -s w / gamma^2 where |w| <= gamma, else 0, and the scale carries a gradient too.
    """
    largest = spec.largest_code
    if gamma is None:
        reach = fixed_gamma(weight, spec).clamp_min(SCALE_FLOOR * largest)
    else:
        reach = learned_gamma(gamma, weight, SCALE_FLOOR * largest)
    ratio = (weight / spread(reach, weight)).clamp(-1, 1)
    codes = 2 * torch.floor(ratio.detach() * (largest / 2)) + 1
    return QuantizedWeight(straight_through(codes, largest * ratio), reach / largest)


def learned_gamma(parameter: Tensor, weight: Tensor, floor: float) -> Tensor:
    """gamma [C_out] = max(|parameter|, floor), always positive, of a parameter [C_out] or [1].

    LSQ (Esser et al., Learned Step Size Quantization, 2020): the gradient is divided by the root of the number of
    weights that share the parameter, so that it learns no faster than they do. Departures: gamma is learned instead of
    the step, so the division by the root of the number of levels falls away. Gradient: straight-through the floor.
    """
    size = weight.numel() // parameter.numel()
    held = straight_through(parameter.abs().clamp_min(floor), parameter.abs())
    return straight_through(held, held * size**-0.5).expand(weight.shape[0])


@torch.no_grad()
def initial_gamma(weight: Tensor, spec: WeightSpec) -> Tensor:
    """What a learned gamma starts from: that of least squared error, [C_out] or, with one a layer, [1]."""
    found = fixed_gamma(normalize_weight(weight, spec.normalize), spec, "mse")
    kept = found[:1] if spec.per == "layer" else found
    return kept.clone(memory_format=torch.contiguous_format)  # with strides of its own, as files want them
