"""How the weights of one layer become integers."""

from __future__ import annotations

from dataclasses import dataclass

from bitspike.spec.checks import FLOAT_BITS, check_bits, check_choice, check_seed, refuse

DEFAULT_PERCENTILE = 0.99
FARTHEST_FRACTION = 31

WEIGHT_GRIDS: dict[str, range] = {"binary": range(1, 2), "twos_complement": range(2, 9), "odd": range(2, 9)}
"""Grid name -> the widths it exists for. `quant.weights` registers the functions under the same names."""

GRID_SCALES: dict[str, tuple[str, ...]] = {
    "binary": ("mean", "power_of_two"),
    "twos_complement": ("abs_max", "percentile", "mse", "power_of_two"),
    "odd": ("mean", "abs_max", "percentile", "unit", "mse", "learned"),
}
"""Grid name -> the scales it knows, its default first."""


@dataclass(frozen=True)
class WeightSpec:
    """How the weights of one layer become integers.

    grid       binary (+1/-1), twos_complement (symmetric, -n..n with n = 2^(bits-1) - 1), or odd (the odd numbers
               -s..s with s = 2^bits - 1: no zero, every code in use)
    scale      binary: mean, the mean magnitude, or power_of_two, the power of two nearest to it;
               twos_complement: gamma / n, where gamma, the weight that gets the largest code, is abs_max, percentile,
               or mse (the one of least squared error); or power_of_two: fixed point Qi.f, see fraction;
               odd: gamma / s, where gamma is mean, abs_max, percentile, unit (1), mse, or learned (a parameter that
               `quantize_` makes)
    per        one scale per output channel or per layer (a readout always has one per layer)
    normalize  standardize the latent weights (zero mean, unit deviation) before the grid
    gradient   of the sign: clipped (straight-through) or annealed_tanh (error decay estimator)
    percentile x of the scale percentile, above 0.5: gamma = max(|P_(1-x)|, |P_x|), P_x what a share x of the weights
               does not exceed
    rounding   to the grid: nearest (half up); on twos_complement also floor (truncation) and stochastic
    fraction   f of the scale 2^-f of twos_complement's power_of_two, i = bits - f; by default (None, or "auto") the
               largest f that still reaches the largest magnitude
    seed       of the stochastic rounding
    """

    bits: int = FLOAT_BITS
    grid: str = ""
    scale: str = ""
    per: str = "channel"
    normalize: str = "none"
    gradient: str = "clipped"
    percentile: float = DEFAULT_PERCENTILE
    rounding: str = "nearest"
    fraction: int | str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_bits("weight", self.bits, 1, 8)
        check_seed("weight", self.seed)
        for name in ("per", "normalize", "gradient", "rounding"):
            check_choice("weight", name, getattr(self, name))
        share = self.percentile
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.5 < share <= 1:
            raise refuse("weight.percentile", share, "above 0.5, up to 1")
        object.__setattr__(self, "percentile", float(share))
        if self.fraction == "auto":
            object.__setattr__(self, "fraction", None)
        if self.bits == FLOAT_BITS:
            self._check_names()
            return
        if not self.grid:
            object.__setattr__(self, "grid", "binary" if self.bits == 1 else "twos_complement")
        if self.grid not in WEIGHT_GRIDS:
            raise refuse("weight.grid", self.grid, ", ".join(WEIGHT_GRIDS))
        if self.bits not in WEIGHT_GRIDS[self.grid]:
            widths = WEIGHT_GRIDS[self.grid]
            raise refuse(f"weight.bits with grid {self.grid}", self.bits, f"{widths[0]} to {widths[-1]}")
        if not self.scale:
            object.__setattr__(self, "scale", GRID_SCALES[self.grid][0])
        if self.scale not in GRID_SCALES[self.grid]:
            raise refuse(f"weight.scale with grid {self.grid}", self.scale, ", ".join(GRID_SCALES[self.grid]))
        if self.rounding != "nearest" and self.grid != "twos_complement":
            raise refuse(f"weight.rounding with grid {self.grid}", self.rounding, "nearest")
        self._check_fraction()

    def _check_names(self) -> None:
        """Of a grid and a scale that wait for bits, which an override may bring."""
        scales = {scale for known in GRID_SCALES.values() for scale in known}
        if self.grid and self.grid not in WEIGHT_GRIDS:
            raise refuse("weight.grid", self.grid, ", ".join(WEIGHT_GRIDS))
        if self.scale and self.scale not in scales:
            raise refuse("weight.scale", self.scale, ", ".join(sorted(scales)))

    def _check_fraction(self) -> None:
        if self.fraction is None:
            return
        if (self.grid, self.scale) != ("twos_complement", "power_of_two"):
            raise ValueError(
                f"weight.fraction is {self.fraction!r}, but grid {self.grid} with scale {self.scale} is no fixed "
                'point; set grid = "twos_complement" and scale = "power_of_two", or leave it out'
            )
        whole = isinstance(self.fraction, int) and not isinstance(self.fraction, bool)
        if not whole or not -FARTHEST_FRACTION <= int(self.fraction) <= FARTHEST_FRACTION:
            raise refuse("weight.fraction", self.fraction, f"-{FARTHEST_FRACTION} to {FARTHEST_FRACTION}")

    @property
    def is_float(self) -> bool:
        """Whether the weights stay in floating point."""
        return self.bits == FLOAT_BITS

    @property
    def is_learned(self) -> bool:
        """Whether the scale is a parameter of the layer, trained with its weights."""
        return not self.is_float and self.scale == "learned"

    @property
    def largest_code(self) -> int:
        """The largest code of the grid; the smallest is its negative. A float layer has none."""
        if self.is_float:
            raise ValueError("weights of 32 bits are on no grid and have no codes")
        bits = self.bits if self.grid in ("binary", "odd") else self.bits - 1
        return (1 << bits) - 1

    @property
    def levels(self) -> int:
        """How many codes the grid has."""
        return self.largest_code + 1 if self.grid in ("binary", "odd") else 2 * self.largest_code + 1
