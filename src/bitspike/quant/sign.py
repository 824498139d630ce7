"""The sign of a weight, sign(0) = +1, and the gradients that stand in for its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _sign(weight: Tensor) -> Tensor:
    return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return _sign(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (weight,) = ctx.saved_tensors
        inside: Tensor = weight.abs() <= 1
        return gradients[0] * inside


def clipped(weight: Tensor, progress: float) -> Tensor:
    """sign(w); gradient 1 where |w| <= 1, else 0.

    The clipped straight-through estimator of Hubara et al., Binarized Neural Networks, 2016.
    """
    result: Tensor = _Clipped.apply(weight)  # type: ignore[no-untyped-call]
    return result


class _AnnealedTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, sharpness: float, gain: float) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.sharpness, ctx.gain = sharpness, gain
        return _sign(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        slope = 1 - torch.tanh(ctx.sharpness * weight).square()
        return gradients[0] * slope * (ctx.gain * ctx.sharpness), None, None


def annealed_tanh(weight: Tensor, progress: float) -> Tensor:
    """sign(w); gradient k t (1 - tanh(t w)^2), t = 10^(2 progress - 1), k = max(1 / t, 1).

    The error decay estimator of Qin et al., Forward and Backward Information Retention (IR-Net), 2020, with
    the schedule of Q-SNN's code: wide and flat at the start of training, narrow at the end.
    """
    sharpness = 10 ** (2 * progress - 1)
    result: Tensor = _AnnealedTanh.apply(weight, sharpness, max(1 / sharpness, 1.0))  # type: ignore[no-untyped-call]
    return result


SIGN_GRADIENTS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "clipped": clipped,
    "annealed_tanh": annealed_tanh,
}
