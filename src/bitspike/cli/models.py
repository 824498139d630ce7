"""`bitspike models`: the networks that can be made by name."""

from __future__ import annotations

import inspect
from typing import Any

from bitspike.cli.options import Json
from bitspike.cli.output import Output, table
from bitspike.wording import shape


def models(pattern: str = "*", /, *, json: Json = False) -> int:
    """List the networks that can be made by name.

    Args:
        pattern: a shell pattern of names, such as "res*".
    """
    from bitspike.model import list_models

    names = list_models(pattern)
    if not names:
        raise ValueError(f'no model matches "{pattern}"; there are {", ".join(list_models())}')
    found = [_describe(name) for name in names]
    output = Output(json)
    rows = [
        (item["name"], f"{item['parameters']:,}", _input(item), str(item["classes"]), item["description"])
        for item in found
    ]
    output.show(table("", ("model", "parameters", "input", "classes", ""), rows, left=(0, 4)))
    output.hint("parameters, shapes and classes are those of the defaults; recipes and --set change them")
    output.finish({"models": found})
    return 0


def _describe(name: str) -> dict[str, Any]:
    import torch

    from bitspike.model import create_model, model_defaults

    options = model_defaults(name)
    # On the meta device no weight is made, so that a network of millions is counted at once.
    with torch.device("meta"):
        net = create_model(name)
    return {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "input_shape": list(options["input_shape"]),
        "time_steps": options["time_steps"],
        "classes": options["classes"],
        "description": _description(type(net)),
        "options": {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()},
    }


def _description(kind: type) -> str:
    """The first line about a class; where that is its signature in words, the first one about its module."""
    line = (inspect.getdoc(kind) or "").partition("\n")[0]
    if line.endswith("to logits [T, B, classes]."):
        line = (inspect.getdoc(inspect.getmodule(kind)) or "").partition("\n")[0].partition(": ")[2]
    return line[:1].upper() + line[1:].rstrip(".")


def _input(item: dict[str, Any]) -> str:
    return f"{shape(item['input_shape'])}, T = {item['time_steps']}"
