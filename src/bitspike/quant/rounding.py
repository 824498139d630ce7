"""The one rounding function of the package, how gradients pass through it, and powers of two."""

from __future__ import annotations

import torch
from torch import Tensor


def round_half_up(value: Tensor) -> Tensor:
    """floor(x + 1/2): what the integer form computes with an add and a shift.

    `torch.round` goes to the even neighbour instead and must not be used for anything that is lowered.
    """
    return torch.floor(value + 0.5)


def ceil_log2(value: Tensor) -> Tensor:
    """ceil(log2(x)) of positive numbers, exactly, by taking the float apart."""
    mantissa, exponent = torch.frexp(value.double())
    return exponent - (mantissa == 0.5).to(exponent.dtype)


def straight_through(value: Tensor, gradient_of: Tensor) -> Tensor:
    """The first argument's value, to the last bit, with the second one's gradient."""
    return value.detach() + (gradient_of - gradient_of.detach())
