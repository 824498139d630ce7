"""Every quantization choice of a network in one frozen description.

`QuantSpec.parse("1w2u")` is the short form; a TOML table is the long one; both give the same object.
Bits of 32 mean "left in float": such a layer trains and evaluates, but has no integer form.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from fractions import Fraction
from typing import Any, Self, TypeVar

FLOAT_BITS = 32
MAX_LEAK_EXPONENT = 8
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

_CHOICES: dict[str, tuple[str, ...]] = {
    "per": ("channel", "layer"),
    "normalize": ("none", "channel", "layer"),
    "gradient": ("clipped", "annealed_tanh"),
    "rounding": ("nearest", "floor", "stochastic"),
    "reset": ("hard", "soft"),
    "form": ("static", "dynamic"),
}


def _refuse(where: str, value: object, allowed: str) -> ValueError:
    return ValueError(f"{where} is {value!r}; allowed: {allowed}")


def _check_choice(owner: str, name: str, value: object) -> None:
    if value not in _CHOICES[name]:
        raise _refuse(f"{owner}.{name}", value, ", ".join(_CHOICES[name]))


def _check_bits(owner: str, value: object, low: int, high: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not (low <= int(str(value)) <= high or value == FLOAT_BITS):
        raise _refuse(f"{owner}.bits", value, f"{low} to {high}, or {FLOAT_BITS} for float")


def _check_seed(owner: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise _refuse(f"{owner}.seed", value, "0 to 2^32 - 1")


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
        _check_bits("weight", self.bits, 1, 8)
        _check_seed("weight", self.seed)
        for name in ("per", "normalize", "gradient", "rounding"):
            _check_choice("weight", name, getattr(self, name))
        share = self.percentile
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.5 < share <= 1:
            raise _refuse("weight.percentile", share, "above 0.5, up to 1")
        object.__setattr__(self, "percentile", float(share))
        if self.fraction == "auto":
            object.__setattr__(self, "fraction", None)
        if self.bits == FLOAT_BITS:
            return
        if not self.grid:
            object.__setattr__(self, "grid", "binary" if self.bits == 1 else "twos_complement")
        if self.grid not in WEIGHT_GRIDS:
            raise _refuse("weight.grid", self.grid, ", ".join(WEIGHT_GRIDS))
        if self.bits not in WEIGHT_GRIDS[self.grid]:
            widths = WEIGHT_GRIDS[self.grid]
            raise _refuse(f"weight.bits with grid {self.grid}", self.bits, f"{widths[0]} to {widths[-1]}")
        if not self.scale:
            object.__setattr__(self, "scale", GRID_SCALES[self.grid][0])
        if self.scale not in GRID_SCALES[self.grid]:
            raise _refuse(f"weight.scale with grid {self.grid}", self.scale, ", ".join(GRID_SCALES[self.grid]))
        if self.rounding != "nearest" and self.grid != "twos_complement":
            raise _refuse(f"weight.rounding with grid {self.grid}", self.rounding, "nearest")
        self._check_fraction()

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
            raise _refuse("weight.fraction", self.fraction, f"-{FARTHEST_FRACTION} to {FARTHEST_FRACTION}")

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


def parse_leak(value: object, *, shifts: bool = True) -> Fraction:
    """The leak as a fraction; with `shifts` one of k / 2^e, the only leaks that integers can express with a shift."""
    try:
        leak = Fraction(str(value)) if isinstance(value, str | int | float | Fraction) else None
    except (ValueError, ZeroDivisionError):
        leak = None
    allowed = f'k / 2^e from 0 to 1 with e <= {MAX_LEAK_EXPONENT}, such as "1/2", "7/8" or 0.5'
    if leak is None or not 0 <= leak <= 1:
        raise _refuse("membrane.leak", value, allowed if shifts else "a number from 0 to 1")
    if shifts and nearest_leak(leak) != leak:
        raise _refuse("membrane.leak", value, f"{allowed}; the nearest is {nearest_leak(leak)}")
    return leak


def nearest_leak(leak: Fraction, bits: int = MAX_LEAK_EXPONENT) -> Fraction:
    """The nearest of the leaks k / 2^bits; half way between two the larger, as the package rounds everywhere."""
    return Fraction(math.floor(leak * 2**bits + Fraction(1, 2)), 2**bits)


@dataclass(frozen=True)
class MembraneSpec:
    """How the membrane of one layer leaks, fires, resets and is stored.

    bits       2 to 16 for the stored potential (levels -n..n, n = 2^(bits-1) - 1), or 32 for float
    rounding   nearest (half up), floor or stochastic, of the stored potential
    reset      hard (to zero) or soft (subtract the threshold, or what `subtract` says)
    leak       the factor tau kept from one step to the next; k / 2^e, at 32 bits any from 0 to 1
    threshold  v: a neuron fires at v and above; where it is strict above v only
    range      alpha, the largest potential that can be stored; by default (None, or "threshold") the threshold
    form       static: a fixed power-of-two step per channel; dynamic: Q-SNN's published tanh and batch
               maximum, for training comparisons only (it has no integer form)
    seed       of the stochastic rounding
    subtract   what a soft reset takes away; by default (None, or "threshold") the threshold. snnTorch's reset, one
               step later and behind the leak, is v / leak
    strict     a neuron does not fire at v itself, as snnTorch's and NIR's
    """

    bits: int = FLOAT_BITS
    rounding: str = "nearest"
    reset: str = "hard"
    leak: Fraction = Fraction(1, 2)
    threshold: float = 1.0
    range: float | None = None
    form: str = "static"
    seed: int = 0
    subtract: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _check_bits("membrane", self.bits, 2, 16)
        for name in ("rounding", "reset", "form"):
            _check_choice("membrane", name, getattr(self, name))
        object.__setattr__(self, "leak", parse_leak(self.leak, shifts=not self.is_float))
        for name in ("threshold", "range"):
            value = getattr(self, name)
            if name == "range" and value in (None, "threshold"):
                object.__setattr__(self, name, None)
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < float(value) < float("inf"):
                raise _refuse(f"membrane.{name}", value, "a positive number")
            object.__setattr__(self, name, float(value))
        _check_seed("membrane", self.seed)
        if self.form == "dynamic" and self.rounding == "stochastic":
            raise _refuse("membrane.rounding with form dynamic", self.rounding, "nearest, floor")
        self._check_reset()

    def _check_reset(self) -> None:
        if not isinstance(self.strict, bool):
            raise _refuse("membrane.strict", self.strict, "true, false")
        amount = self.subtract
        if amount is None or str(amount) == "threshold":
            object.__setattr__(self, "subtract", None)
            return
        number = isinstance(amount, int | float) and not isinstance(amount, bool)
        if not number or not 0 <= float(amount) < float("inf"):
            raise _refuse("membrane.subtract", amount, "zero, a positive number, or threshold")
        # A hard reset does not read it, so descriptions that compute the same are equal.
        object.__setattr__(self, "subtract", float(amount) if self.reset == "soft" else None)

    @property
    def subtracted(self) -> float:
        """What a soft reset takes away."""
        return self.threshold if self.subtract is None else self.subtract

    @property
    def resets_behind_leak(self) -> bool:
        """Whether the reset is as if the threshold were taken away one step later: `subtract` is v / leak."""
        late = self.subtract is not None and self.leak < 1
        return late and math.isclose(self.subtracted * float(self.leak), self.threshold, rel_tol=1e-6)

    @property
    def is_float(self) -> bool:
        """Whether the stored membrane stays in floating point."""
        return self.bits == FLOAT_BITS

    @property
    def levels(self) -> int:
        """n: the stored potential is one of -n..n."""
        return (1 << (self.bits - 1)) - 1

    @property
    def leak_numerator(self) -> int:
        """k of tau = k / 2^e."""
        return self.leak.numerator

    @property
    def leak_exponent(self) -> int:
        """e of tau = k / 2^e."""
        return self.leak.denominator.bit_length() - 1


@dataclass(frozen=True)
class LayerSpec:
    """What one layer gets: its weights' and its membrane's description."""

    weight: WeightSpec = WeightSpec()
    membrane: MembraneSpec = MembraneSpec()


@dataclass(frozen=True)
class Override:
    """What is different in layers whose name matches the pattern, as a shell would match it.

    weight, membrane: fields of their descriptions with the values they get instead, ("bits", 4) for example. What is
    not named stays as it is: the hidden layers' or the ends'.
    """

    pattern: str
    weight: tuple[tuple[str, Any], ...] = ()
    membrane: tuple[tuple[str, Any], ...] = ()

    def apply(self, base: LayerSpec) -> LayerSpec:
        """The description of a matching layer."""
        where = f'override."{self.pattern}"'
        return LayerSpec(
            with_changes(f"{where}.weight", base.weight, dict(self.weight)),
            with_changes(f"{where}.membrane", base.membrane, dict(self.membrane)),
        )


_SHORT = re.compile(r"^(?:(\d+)w)?(?:(\d+)u)?$")


def _bits_of(text: str) -> tuple[int | None, int | None]:
    match = _SHORT.match(text.strip())
    if match is None or not text.strip():
        raise _refuse("the quantization", text, 'WEIGHTwMEMBRANEu such as "1w2u", "4w4u", "32w32u"')
    weight, membrane = (int(group) if group else None for group in match.groups())
    return weight, membrane


def _hidden_weight(bits: int) -> WeightSpec:
    """Q-SNN's choice for hidden weights: standardized per channel; an annealed sign where it is binary."""
    if bits == 1:
        return WeightSpec(bits=1, normalize="channel", gradient="annealed_tanh")
    return WeightSpec(bits=bits)


@dataclass(frozen=True)
class QuantSpec:
    """The quantization of a whole network: hidden weights, membranes, the two ends, exceptions by name.

    `ends` holds for the first weighted layer and for every readout.
    """

    weight: WeightSpec = WeightSpec()
    membrane: MembraneSpec = MembraneSpec()
    ends: WeightSpec = WeightSpec()
    overrides: tuple[Override, ...] = field(default=())

    def __post_init__(self) -> None:
        for override in self.overrides:
            override.apply(LayerSpec(self.weight, self.membrane))  # refuses wrong fields and values here, by name

    @classmethod
    def parse(cls, text: str) -> Self:
        """The description that a short form such as "1w2u" stands for.

        1 to 8 weight bits bring 8-bit ends with them; 32 leaves everything in float.
        """
        weight, membrane = _bits_of(text)
        bits = FLOAT_BITS if weight is None else weight
        ends = FLOAT_BITS if bits == FLOAT_BITS else 8
        membrane_spec = MembraneSpec(bits=FLOAT_BITS if membrane is None else membrane)
        return cls(_hidden_weight(bits), membrane_spec, WeightSpec(bits=ends))

    def for_layer(self, name: str, *, end: bool = False) -> LayerSpec:
        """What the layer of this name gets; the first pattern that matches wins."""
        base = LayerSpec(self.ends if end else self.weight, self.membrane)
        for override in self.overrides:
            if fnmatch.fnmatchcase(name, override.pattern):
                return override.apply(base)
        return base

    def short(self) -> str:
        """The short form, "1w2u", of the hidden layers; exceptions are not told."""
        return f"{self.weight.bits}w{self.membrane.bits}u"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; `from_dict` reads it back to an equal object."""
        plain: dict[str, Any] = {"weight": _plain(self.weight), "membrane": _plain(self.membrane)}
        plain["ends"] = _plain(self.ends)
        if self.overrides:
            plain["override"] = {
                item.pattern: {"weight": dict(item.weight), "membrane": dict(item.membrane)} for item in self.overrides
            }
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any] | str) -> Self:
        """Read `to_dict`'s form, a recipe's table or a short form.

        A table may name only what differs: `bits = "1w2u"` sets the base, the tables `weight`, `membrane`,
        `ends` and `override."PATTERN"` change single fields of it.
        """
        if isinstance(plain, str):
            return cls.parse(plain)
        _check_keys("quant", plain, ("bits", "weight", "membrane", "ends", "override"))
        base = cls.parse(str(plain["bits"])) if "bits" in plain else cls()
        weight = with_changes("weight", base.weight, plain.get("weight", {}))
        membrane = with_changes("membrane", base.membrane, plain.get("membrane", {}))
        ends = with_changes("ends", base.ends, plain.get("ends", {}))
        overrides = _table("override", plain.get("override", {}))
        return cls(weight, membrane, ends, tuple(_override(pattern, change) for pattern, change in overrides.items()))

    def to_toml(self) -> str:
        """The long form as TOML text."""
        lines: list[str] = []
        for name, table in self.to_dict().items():
            if name == "override":
                for pattern, parts in table.items():
                    for part, values in parts.items():
                        lines += [f"[override.{_quoted(pattern)}.{part}]", *_toml_lines(values), ""]
            else:
                lines += [f"[{name}]", *_toml_lines(table), ""]
        return "\n".join(lines)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read TOML text; see `from_dict` for what it may hold."""
        import tomllib

        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"the quantization is not valid TOML: {error}") from None
        return cls.from_dict(table)


# Not written where they have these values, so that a description reads as it did before there was a choice.
_UNWRITTEN: dict[str, object] = {"percentile": DEFAULT_PERCENTILE, "rounding": "nearest", "seed": 0}


def _plain(spec: WeightSpec | MembraneSpec) -> dict[str, Any]:
    values = {key: value for key, value in asdict(spec).items() if value is not None and value != ""}
    if isinstance(spec, MembraneSpec):
        values["leak"] = str(spec.leak)
        if not spec.strict:
            del values["strict"]
        return values
    return {key: value for key, value in values.items() if key not in _UNWRITTEN or _UNWRITTEN[key] != value}


def _table(where: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(where, value, "a table")
    return value


def _check_keys(where: str, table: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    for key in table:
        if key not in allowed:
            raise _refuse(f"{where}: the key", key, ", ".join(allowed))


_Spec = TypeVar("_Spec", WeightSpec, MembraneSpec)


def with_changes(where: str, base: _Spec, change: object) -> _Spec:
    """A description with the fields of a table changed; `where` is what errors call the table."""
    table = dict(_table(where, change))
    _check_keys(where, table, tuple(item.name for item in fields(base)))
    if isinstance(base, WeightSpec):
        # Where another width needs another grid, and on another grid the scale, what is not named is chosen afresh.
        bits = table.get("bits", base.bits)
        fits = isinstance(bits, int) and bits in WEIGHT_GRIDS.get(base.grid, ())
        table = table if fits or bits == base.bits else {"grid": "", **table}
        if table.get("grid", base.grid) != base.grid:
            table = {"scale": "", "rounding": "nearest", **table}
        if table.get("scale", base.scale) != base.scale:
            table = {"fraction": None, **table}
    return replace(base, **table)


def _override(pattern: str, change: object) -> Override:
    if isinstance(change, str):
        weight_bits, membrane_bits = _bits_of(change)
        weight = {} if weight_bits is None else _plain(_hidden_weight(weight_bits))
        membrane = {} if membrane_bits is None else {"bits": membrane_bits}
        return Override(pattern, tuple(weight.items()), tuple(membrane.items()))
    where = f'override."{pattern}"'
    table = _table(where, change)
    _check_keys(where, table, ("weight", "membrane"))
    changes = [_table(f"{where}.{part}", table.get(part, {})) for part in ("weight", "membrane")]
    return Override(pattern, *(tuple(change.items()) for change in changes))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _toml_lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml_value(value)}" for key, value in table.items()]


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _quoted(value) if isinstance(value, str) else str(value)
