"""The membrane's grid: a static power-of-two step per channel, and Q-SNN's published dynamic form."""

from __future__ import annotations

import torch
from torch import Tensor

from bitspike.quant.rounding import ceil_log2, round_half_up, straight_through
from bitspike.spec import MembraneSpec

EXPONENT_WINDOW = (3, 4)
"""Exponents of one layer lie from median - 3 to median + 4. One dead channel (a tiny gain) thus cannot
coarsen the step of all others, and at most 7 planes of shift are ever needed."""


def membrane_exponent(gain: Tensor, spec: MembraneSpec) -> Tensor:
    """L[c] = ceil(log2(alpha / (n a[c]))), held within `EXPONENT_WINDOW` of the layer's median.

    gain: a [C], the real value of one unit of the channel's weighted sum. The step of the stored membrane is
    a * 2^L in real units, 2^L in units of the sum. Always float64, so that training and lowering agree.
    """
    reach = spec.threshold if spec.range is None else spec.range
    exponent = ceil_log2(reach / (spec.levels * gain.detach().double()))
    middle = exponent.sort().values[(exponent.numel() - 1) // 2]
    return exponent.clamp(middle - EXPONENT_WINDOW[0], middle + EXPONENT_WINDOW[1])


def quantize_membrane(potential: Tensor, step: Tensor, spec: MembraneSpec, noise: Tensor | None = None) -> Tensor:
    """Q(u) = step * clamp(floor(u / step + o), -n, n);  o = 1/2 nearest, 0 floor, noise in [0, 1) stochastic.

    Gradient: 1 where |u| <= n * step, else 0; none into the step. Q-SNN Eq. 5 with a static step in place of
    the layer's running maximum, which no integer device can know.
    """
    reach = spec.levels * step
    held = potential.clamp(-reach, reach)
    offset: float | Tensor = {"nearest": 0.5, "floor": 0.0, "stochastic": 0.0}[spec.rounding]
    if noise is not None:
        offset = noise
    code = torch.floor(potential.detach() / step + offset).clamp(-spec.levels, spec.levels)
    return straight_through(code * step, held)


def quantize_membrane_dynamic(potential: Tensor, spec: MembraneSpec) -> Tensor:
    """Q(u) = m / n * round(n * clip(tanh(u) / m, -1, 1)),  m = max |tanh(u)| over the whole batch.

    Q-SNN's published code (shared with MINT), one step at a time. The scale depends on the data and on the
    batch's other members, so this form is for training comparisons and is refused by `lower`. Gradient:
    straight-through the rounding, true through tanh; none into m.
    """
    squashed = torch.tanh(potential)
    largest = squashed.detach().abs().amax().clamp_min(1e-8)
    ratio = (squashed / largest).clamp(-1, 1) * spec.levels
    code = round_half_up(ratio.detach()) if spec.rounding == "nearest" else torch.floor(ratio.detach())
    return straight_through(code, ratio) * (largest / spec.levels)
