"""What descriptions of a quantization may hold, and how they refuse the rest."""

from __future__ import annotations

FLOAT_BITS = 32
MAX_LEAK_EXPONENT = 8

CHOICES: dict[str, tuple[str, ...]] = {
    "per": ("channel", "layer"),
    "normalize": ("none", "channel", "layer"),
    "gradient": ("clipped", "annealed_tanh"),
    "rounding": ("nearest", "floor", "stochastic"),
    "reset": ("hard", "soft"),
    "form": ("static", "dynamic"),
}


def refuse(where: str, value: object, allowed: str) -> ValueError:
    """The error that says what was given and what is allowed."""
    return ValueError(f"{where} is {value!r}; allowed: {allowed}")


def check_choice(owner: str, name: str, value: object) -> None:
    """Refuse what is none of the field's words."""
    if value not in CHOICES[name]:
        raise refuse(f"{owner}.{name}", value, ", ".join(CHOICES[name]))


def check_bits(owner: str, value: object, low: int, high: int, name: str = "bits") -> None:
    """Refuse a width that is neither within the range nor 32."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not (low <= int(str(value)) <= high or value == FLOAT_BITS):
        raise refuse(f"{owner}.{name}", value, f"{low} to {high}, or {FLOAT_BITS} for float")


def check_seed(owner: str, value: object) -> None:
    """Refuse what is no number of 32 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise refuse(f"{owner}.seed", value, "0 to 2^32 - 1")
