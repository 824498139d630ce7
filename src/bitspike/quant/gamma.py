"""The weight that gets the largest code of a grid, gamma, from the weights as they are.

Most work on rows [R, n], one row a channel or one the whole layer, and give [R] in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bitspike.spec import WeightSpec

SCALE_FLOOR = 1e-8
"""A channel of zeros still gets a positive scale, so that nothing divides by zero."""

COARSE, FINE = 16, 4
"""How many values `least_squares` tries from mean to largest |w|, and then on either side of the best of them."""


@torch.no_grad()
def fixed_gamma(weight: Tensor, spec: WeightSpec, scale: str = "") -> Tensor:
    """gamma [C_out] of a weight by the spec's scale, or by the one named, which is no parameter."""
    scale = scale or spec.scale
    if scale == "unit":
        return weight.new_ones(weight.shape[0])
    if scale in ("mean", "abs_max"):
        return magnitude(weight, spec.per, "mean" if scale == "mean" else "max")
    rows = weight.detach().reshape(1, -1) if spec.per == "layer" else weight.detach().flatten(1)
    found = percentile(rows, spec.percentile) if scale == "percentile" else least_squares(rows, spec)
    return found.to(weight.dtype).expand(weight.shape[0])


def magnitude(weight: Tensor, per: str, reduce: str) -> Tensor:
    """Mean or largest |w| of every output channel, or of the layer, [C_out], held above the floor."""
    flat = weight.detach().double().abs().flatten(1)
    flat = flat.reshape(1, -1) if per == "layer" else flat
    found = flat.mean(1) if reduce == "mean" else flat.amax(1)
    return found.clamp_min(SCALE_FLOOR).to(weight.dtype).expand(weight.shape[0])


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


def least_squares(rows: Tensor, spec: WeightSpec) -> Tensor:
    """argmin over gamma of sum (w - codes * gamma / n)^2, n the largest code, by a search of 26 steps.

    The minimum cannot lie below mean |w|: there, gamma = n * sum(|w| |code|) / sum(code^2), larger weights have larger
    codes, and none exceeds n. Beyond the largest |w| the outermost codes would be out of use. So 16 values from one to
    the other are tried, 8 around the best, and the percentile; then gamma is fitted to the codes of the best. It is
    never worse than mean, largest and percentile. Nothing is random, nothing is read back from a GPU.
    """
    magnitudes = rows.abs()
    mean, largest = magnitudes.double().mean(1), magnitudes.amax(1).double()
    search = _Search(magnitudes, spec, largest)
    width = (largest - mean) / (COARSE - 1)
    for number in range(COARSE - 1):
        search.try_(mean + number * width)
    search.try_(percentile(rows, spec.percentile))
    middle = search.best
    for number in range(1, FINE + 1):
        for side in (-1, 1):
            search.try_(middle + side * number / (FINE + 1) * width)
    search.try_(search.fitted())
    return search.best


# |codes| of magnitudes in units of the scale, computed in place. The sign does not matter: halves are rounded up on
# both sides, but a weight exactly between two codes is as far from either.


def _odd_codes(ratio: Tensor, largest_code: int) -> Tensor:
    half = ratio.div_(2).floor_()
    return half.clamp_max_((largest_code - 1) // 2).mul_(2).add_(1)


def _signed_codes(ratio: Tensor, largest_code: int) -> Tensor:
    return ratio.add_(0.5).floor_().clamp_max_(largest_code)


_MAGNITUDE_CODES: dict[str, Callable[[Tensor, int], Tensor]] = {"odd": _odd_codes, "twos_complement": _signed_codes}


class _Search:
    """The best gamma of those tried, row by row; the first at a tie."""

    def __init__(self, magnitudes: Tensor, spec: WeightSpec, start: Tensor) -> None:
        self.magnitudes = magnitudes
        self._space = torch.empty_like(magnitudes)  # used again, since to get fresh memory takes longer than to compute
        self._grid = _MAGNITUDE_CODES[spec.grid]
        self.largest_code = spec.largest_code
        self.best = start.clamp_min(SCALE_FLOOR)
        self.error = self._error(self.best)

    def _codes(self, scale: Tensor) -> Tensor:
        return self._grid(torch.div(self.magnitudes, scale, out=self._space), self.largest_code)

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
