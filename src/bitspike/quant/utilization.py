"""How many of its levels a weight uses: R = levels in use / levels that the grid has.

QP-SNN's bit-width utilization. Measured, it counts the codes that occur. The paper's estimate takes the weights to
fill the range up to a evenly, a = max(|P_0.01|, |P_0.99|) of w / gamma, at most 1:

    R = (a (N - 1) + 1) / N,   N levels;   on the odd grid N = 2^bits, so (a (2^bits - 1) + 1) / 2^bits

With N = 256 and a = 0.14 that is 14.33 %. The paper gives it for the uniform quantizer without rescaling, whose gamma
is 1 (our scale "unit"); for other scales gamma is the weight that gets the largest code.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bitspike.quant.gamma import percentile
from bitspike.quant.weights import normalize_weight, spread
from bitspike.spec import WeightSpec

TAIL = 0.99
"""The paper's percentile."""


def levels_used(codes: Tensor | NDArray[np.integer[Any]]) -> int:
    """How many different codes occur."""
    given = torch.from_numpy(codes) if isinstance(codes, np.ndarray) else codes.detach()
    whole = given.nan_to_num(0).flatten().to(torch.int32)
    return int(torch.bincount(whole - whole.min()).count_nonzero())  # sorting millions of codes would take seconds


def utilization(codes: Tensor, spec: WeightSpec) -> float:
    """R as measured: different codes that occur / codes that the grid has."""
    return levels_used(codes) / spec.levels


def utilization_from_range(a: float, levels: int) -> float:
    """R as estimated from the share a of the range that the weights fill, 0 to 1."""
    if not 0 <= a <= 1 or levels < 2:
        raise ValueError(f"a is {a} and levels is {levels}; allowed: a from 0 to 1, 2 levels or more")
    return (a * (levels - 1) + 1) / levels


@torch.no_grad()
def estimated_utilization(weight: Tensor, scale: Tensor, spec: WeightSpec) -> float:
    """R by the paper's estimate, of a latent weight [C_out, ...] and the scale [C_out] that it was quantized with."""
    gamma = spread(scale.double() * spec.largest_code, weight)
    ratio = normalize_weight(weight, spec.normalize).double() / gamma
    a = float(percentile(ratio.reshape(1, -1), TAIL))
    # Of weights that are not finite numbers nothing can be told; lowering refuses them with the layer's name.
    return utilization_from_range(min(a, 1.0), spec.levels) if math.isfinite(a) else 0.0
