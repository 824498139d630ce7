"""Frozen dataclasses from tables of plain data, every key, type and range checked.

Limits stand beside the field they limit: `field(default=..., metadata=limits(low=0))`.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

Config = TypeVar("Config")


def limits(
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    above: float | None = None,
    later: bool = False,
) -> dict[str, Any]:
    """Metadata for a field: low <= value <= high, value > above, or value one of choices.

    later: it came after runs were made; at its default it changes nothing, and they are still the same run.
    """
    return {"low": low, "high": high, "choices": choices, "above": above, "later": later}


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The tail of a message about an unknown name: the nearest allowed name, and all of them."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'did you mean "{close[0]}"? ' if close else ""
    return f"{hint}allowed: {', '.join(names)}"


def build(config: type[Config], table: object, where: str) -> Config:
    """Build a dataclass from a table; `where` opens every message, such as "a.toml: train"."""
    if not isinstance(table, Mapping):
        raise TypeError(f"{where} is {table!r}; it must be a table of settings")
    hints = typing.get_type_hints(config)
    known = [item.name for item in fields(config) if item.init]  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            raise ValueError(f"{where}.{key} is not a setting; {nearest(str(key), known)}")
    values = {key: convert(value, hints[key], f"{where}.{key}") for key, value in table.items()}
    try:
        return config(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def convert(value: object, hint: Any, where: str) -> Any:
    """The value as the type that the annotation asks for; only lossless conversions."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_match(value, typing.get_args(hint), where)
    if origin is tuple:
        return _tuple(value, typing.get_args(hint), where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError(f"{where} is {value!r}; it must be a table")
        return dict(value)
    return _plain(value, hint, where)


def _plain(value: object, hint: Any, where: str) -> Any:
    if isinstance(value, bool) and hint is not bool:
        fits = False
    elif hint is float and isinstance(value, int):
        return float(value)
    else:
        fits = isinstance(value, hint)
    if not fits:
        raise TypeError(f"{where} is {value!r}; it must be {_words(hint)}")
    return value


def _first_match(value: object, options: tuple[Any, ...], where: str) -> Any:
    for option in options:
        try:
            return convert(value, option, where)
        except TypeError:
            continue
    raise TypeError(f"{where} is {value!r}; it must be {' or '.join(_words(option) for option in options)}")


def _tuple(value: object, inner: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where} is {value!r}; it must be a list")
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(convert(item, inner[0], f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(inner):
        raise TypeError(f"{where} is {value!r}; it must be a list of {len(inner)} values")
    return tuple(convert(item, hint, f"{where}[{i}]") for i, (item, hint) in enumerate(zip(value, inner, strict=True)))


def _words(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "text",
        bool: "true or false",
        type(None): "nothing",
    }
    return names.get(hint, str(getattr(hint, "__name__", hint)))


def check_limits(config: Any) -> None:
    """Check every field against its metadata; for `__post_init__`, so that code and files meet one rule."""
    for item in fields(config):
        value = getattr(config, item.name)
        kind = {"int": int, "bool": bool}.get(str(item.type))
        if kind is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
            raise ValueError(f"{item.name} is {value!r}; it must be {_words(kind)}")
        if item.metadata and value is not None:
            _check(item.name, value, item.metadata)


def _check(name: str, value: Any, limit: Mapping[str, Any]) -> None:
    if limit["choices"]:
        if value not in limit["choices"]:
            raise ValueError(f"{name} is {value!r}; allowed: {', '.join(limit['choices'])}")
        return
    low, high, above = limit["low"], limit["high"], limit["above"]
    inside = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
    )
    if not inside:
        bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", low), (">", above), ("<=", high)) if bound is not None]
        raise ValueError(f"{name} is {value!r}; it must be a number {' and '.join(bounds)}")
