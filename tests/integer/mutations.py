"""Files that are nearly right: one to three values of a header or tensors changed, and the file written anew."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

from bitspike.integer.container import pack, unpack

ODD = (0, 1, -1, 2, 3, 7, 8, 30, 31, 32, 127, 128, 255, 256, 65535, 2**26, 2**31 - 1, 2**31, 2**40, 10**400, 0.5, 1e308)
ODDITIES = (
    *ODD,
    None,
    True,
    False,
    "",
    "x",
    "hard",
    "soft",
    "plain",
    "weighted",
    "dense",
    "events",
    [],
    {},
    [1, 1],
    [0],
)


def mutated(data: bytes, draw: random.Random) -> bytes | None:
    """A file with another header or other tensors, its layout and checksum right; None where that cannot be made."""
    header, tensors = unpack(data, "seed", verify=False)
    try:
        for _ in range(draw.randint(1, 3)):
            tensors = _change(draw, header, dict(tensors))
        return pack(header, tensors)
    except (ValueError, IndexError, OverflowError, KeyError, RecursionError):
        return None


def _change(draw: random.Random, header: dict[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    places = list(_places(header))
    if draw.random() < 0.3 and tensors:
        name = draw.choice(list(tensors))
        changed = tensors[name].copy()
        flat = changed.reshape(-1).view("u1")
        flat[draw.randrange(flat.size)] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
        tensors[name] = draw.choice((changed, changed, changed[:-1], changed.reshape(-1), changed.astype("<i4")))
        return tensors
    owner, key = draw.choice(places)
    action = draw.randrange(6)
    if action < 2:
        owner[key] = draw.choice(ODDITIES)
    elif action == 2 and isinstance(owner[key], int | float):
        owner[key] = owner[key] * draw.choice((-1, 2, 255, 65536)) + draw.choice((-1, 0, 1))
    elif action == 3:
        other, place = draw.choice(places)
        owner[key] = json.loads(json.dumps(other[place]))
    elif action == 4:
        del owner[key]
    elif isinstance(owner, list):
        owner.insert(draw.randrange(len(owner) + 1), json.loads(json.dumps(owner[key])))
    return tensors


def _places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every (owner, key) in a JSON value."""
    pairs: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(pairs):
        yield value, key
        yield from _places(inner)


def meaning(data: bytes) -> Any:
    """The header with every tensor's name replaced by the tensor's numbers: what a file says, however it is written."""
    header, tensors = unpack(data, "it", verify=False)

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: told(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [told(inner) for inner in value]
        return tensors[value].tolist() if isinstance(value, str) and value in tensors else value

    return told(header)
