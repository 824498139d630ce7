"""The weight that gets the largest code of the odd grid: gamma, from the weights as they are.

These work on rows [R, n], one row a channel or one the whole layer, and give [R] in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE_FLOOR = 1e-8
"""A channel of zeros still gets a positive scale, so that nothing divides by zero."""

COARSE, FINE = 16, 4
"""How many values `least_squares` tries from mean to largest |w|, and then on either side of the best of them."""


def percentile(rows: Tensor, share: float) -> Tensor:
    """max(|P_(1-x)|, |P_x|) with P_x what a share x of a row does not exceed, linear between two weights."""
    place = share * (rows.shape[1] - 1)  # in ascending order
    below = int(place)

    def largest(values: Tensor) -> Tensor:
        top = values.topk(
            values.shape[1] - below, 1
        ).values.double()  # far less than a whole row, so faster than a sort
        return torch.lerp(top[:, -1], top[:, max(len(top[0]) - 2, 0)], place - below)

    return torch.maximum(largest(rows).abs(), largest(-rows).abs())


def least_squares(rows: Tensor, bits: int, share: float) -> Tensor:
    """argmin over gamma of sum (w - codes * gamma / s)^2, by a search of 26 steps.

    The minimum cannot lie below mean |w|: there, gamma = s * sum(|w| |code|) / sum(code^2), larger weights have larger
    codes, and none exceeds s. Beyond the largest |w| the outermost codes would be out of use. So 16 values from one to
    the other are tried, 8 around the best, and the percentile; then gamma is fitted to the codes of the best. It is
    never worse than mean, largest and percentile. Nothing is random, nothing is read back from a GPU.
    """
    magnitudes = rows.abs()
    mean, largest = magnitudes.double().mean(1), magnitudes.amax(1).double()
    search = _Search(magnitudes, bits, largest)
    width = (largest - mean) / (COARSE - 1)
    for number in range(COARSE - 1):
        search.try_(mean + number * width)
    search.try_(percentile(rows, share))
    middle = search.best
    for number in range(1, FINE + 1):
        for side in (-1, 1):
            search.try_(middle + side * number / (FINE + 1) * width)
    search.try_(search.fitted())
    return search.best


class _Search:
    """The best gamma of those tried, row by row; the first at a tie."""

    def __init__(self, magnitudes: Tensor, bits: int, start: Tensor) -> None:
        self.magnitudes = magnitudes
        self._space = torch.empty_like(magnitudes)  # used again, since to get fresh memory takes longer than to compute
        self.largest_code = 2**bits - 1
        self.best = start.clamp_min(SCALE_FLOOR)
        self.error = self._error(self.best)

    def _codes(self, scale: Tensor) -> Tensor:
        half = torch.div(self.magnitudes, 2 * scale, out=self._space).floor_()
        codes: Tensor = half.clamp_max_((self.largest_code - 1) // 2).mul_(2).add_(1)
        return codes

    def _scale(self, gamma: Tensor) -> Tensor:
        scale: Tensor = (gamma / self.largest_code).to(self.magnitudes.dtype).unsqueeze(1)
        return scale

    def _error(self, gamma: Tensor) -> Tensor:
        scale = self._scale(gamma)
        missed = self._codes(scale).mul_(scale).sub_(self.magnitudes)
        error: Tensor = missed.square_().sum(1, dtype=torch.float64)
        return error

    def try_(self, gamma: Tensor) -> None:
        """Keep it in the rows where it is better than all before."""
        gamma = gamma.clamp_min(SCALE_FLOOR)
        error = self._error(gamma)
        self.best = torch.where(error < self.error, gamma, self.best)
        self.error = torch.minimum(error, self.error)

    def fitted(self) -> Tensor:
        """The gamma that suits the codes of the best one."""
        codes = self._codes(self._scale(self.best)).double()
        found: Tensor = self.largest_code * (codes * self.magnitudes).sum(1) / codes.square().sum(1)
        return found
