"""The one rounding function of the package, and how gradients pass through it."""

from __future__ import annotations

import torch
from torch import Tensor


def round_half_up(value: Tensor) -> Tensor:
    """floor(x + 1/2): what the integer form computes with an add and a shift.

    `torch.round` goes to the even neighbour instead and must not be used for anything that is lowered.
    """
    return torch.floor(value + 0.5)


def straight_through(value: Tensor, gradient_of: Tensor) -> Tensor:
    """The first argument's value, to the last bit, with the second one's gradient."""
    return value.detach() + (gradient_of - gradient_of.detach())
