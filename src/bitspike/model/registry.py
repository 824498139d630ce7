"""The names under which networks can be made, on the command line and in recipes.

    @register_model("mine")
    class Mine(nn.Module):
        def __init__(self, *, classes=10, input_shape=(1, 28, 28), time_steps=4, mean=None, std=0.25): ...

Every argument of a registered class is a keyword with a default and takes plain data; so a name and a table
of options are enough to make the network again.
"""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar, cast

from torch import nn

from bitspike.spec import QuantSpec

ModelFactory = Callable[..., nn.Module]
_Factory = TypeVar("_Factory", bound=ModelFactory)

_MODELS: dict[str, ModelFactory] = {}


def register_model(name: str) -> Callable[[_Factory], _Factory]:
    """Make a class (or function) that returns a network available under `name`."""

    def register(factory: _Factory) -> _Factory:
        if name in _MODELS:
            raise ValueError(f"a model named {name!r} is registered already; choose another name.")
        for argument in inspect.signature(factory).parameters.values():
            if argument.kind is not inspect.Parameter.KEYWORD_ONLY or argument.default is argument.empty:
                raise TypeError(
                    f"model {name!r}: argument {argument.name!r} is not a keyword with a default; write "
                    "every argument after * and give it one, so that the options alone rebuild the network."
                )
            if argument.name == "spec":
                raise TypeError(f"model {name!r}: remove the argument 'spec'; create_model quantizes what it made.")
        _MODELS[name] = factory
        return factory

    return register


def list_models(pattern: str = "*") -> list[str]:
    """Names of the registered models that match a shell pattern, sorted: `list_models("res*")`."""
    return sorted(fnmatch.filter(_MODELS, pattern))


def model_defaults(name: str) -> dict[str, Any]:
    """The options of a model with their defaults, as `create_model` accepts them (without `spec`)."""
    return {key: value.default for key, value in inspect.signature(_find(name)).parameters.items()}


def create_model(name: str, *, spec: str | Mapping[str, Any] | QuantSpec = "32w32u", **options: Any) -> nn.Module:
    """Make the network registered under `name` and quantize it as `spec` says.

    options: classes, input_shape (C, H, W), time_steps, mean, std, and what the model has of its own
        (`model_defaults`); mean and std are those of the data (`Dataset.mean`, `Dataset.std`).
    The result remembers how it was made: `net.model_name` and `net.model_options`, plain data with every
    default filled in, so that `create_model(net.model_name, **net.model_options)` builds the same network.
    """
    factory = _find(name)
    defaults = model_defaults(name)
    for given, value in options.items():
        if given not in defaults:
            raise ValueError(
                f"model {name!r} has no option {given!r}{_near(given, defaults)}; it takes "
                f"{', '.join(defaults)} and spec."
            )
        if not _like(value, defaults[given]):
            raise ValueError(f"model {name!r}: {given} is {value!r}; give something like {_plain(defaults[given])!r}")
    complete = {key: _plain(value) for key, value in (defaults | options).items()}
    wanted = spec if isinstance(spec, QuantSpec) else QuantSpec.from_dict(spec)
    net = factory(**complete)
    _quantize(net, wanted)
    remembered = cast(Any, net)
    remembered.model_name = name
    remembered.model_options = complete | {"spec": spec if isinstance(spec, str) else wanted.to_dict()}
    return net


def _quantize(net: nn.Module, spec: QuantSpec) -> None:
    from bitspike.block import quantize_

    quantize_(net, spec)


def _find(name: str) -> ModelFactory:
    if name not in _MODELS:
        raise ValueError(
            f"there is no model {name!r}{_near(name, _MODELS)}; registered are {', '.join(list_models())}."
        )
    return _MODELS[name]


def _near(name: str, known: Mapping[str, object]) -> str:
    matches = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f" (did you mean {' or '.join(repr(match) for match in matches)}?)" if matches else ""


def _like(value: Any, default: Any) -> bool:
    """Whether a value is of the kind of the default, item by item; where one of them is None, anything is."""
    if value is None or default is None:
        return True
    if isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and all(_like(item, default[0]) for item in value if default)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    kinds: tuple[Any, ...] = (Integral, Real, str)
    return all(isinstance(value, kind) for kind in kinds if isinstance(default, kind))


def _plain(value: Any) -> Any:
    """Sequences as lists, numpy's numbers as Python's: what JSON and TOML give back, so that options stay equal."""
    if isinstance(value, Real) and not isinstance(value, bool | int | float):
        return int(value) if isinstance(value, Integral) else float(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
