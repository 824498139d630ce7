"""The bytes of a `.bsp` file: a checksum, a header, named tensors. The layout is docs/reference/format.md.

A safetensors file whose table begins with the checksum at a fixed place, so that it can cover all other bytes.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.limits import LARGEST_TABLE, LONGEST_NAME

KIND = "bitspike integer network"
OTHER_KINDS = {
    "bitspike STDP network": "`bitspike evaluate`, `measure` and `export c` take it, and bitspike.stdp.load",
    "bitspike STDP state": "the `bitspike train` command that began the run goes on from it",
}
"""What else lies in such files, and what it is good for."""
VERSION = 3

Tensors: TypeAlias = dict[str, NDArray[np.integer[Any]]]

START = b'{"__metadata__":{"sha256":"'
_FROM, _TO = 8 + len(START), 8 + len(START) + 64
_DTYPES = {"I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1"}  # the widest first: each tensor is then aligned
_LONGEST = 2 * LONGEST_NAME  # of a tensor: that of its node, and which part of it
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def pack(header: Mapping[str, Any], tensors: Mapping[str, NDArray[np.integer[Any]]]) -> bytes:
    """A whole file; the same header and tensors give the same bytes."""
    order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
    table: dict[str, Any] = {"__metadata__": {"sha256": "0" * 64, "bitspike": _json(header, sort=True)}}
    place = 0
    for name in order:
        tensor = tensors[name]
        table[name] = {
            "dtype": _NAMES[tensor.dtype.newbyteorder("<")],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + tensor.nbytes],
        }
        place += tensor.nbytes
    parts = [np.ascontiguousarray(tensors[name]).astype(tensors[name].dtype.newbyteorder("<")) for name in order]
    return _signed(_head(table), b"".join(part.tobytes() for part in parts))


def with_header(data: bytes, header: Mapping[str, Any]) -> bytes:
    """The same file with another header; the tensors' bytes are not touched."""
    size = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:size])
    table["__metadata__"]["bitspike"] = _json(header, sort=True)
    return _signed(_head(table), data[size:])


def _head(table: Mapping[str, Any]) -> bytes:
    """A table and its length, as a file begins."""
    text = _json(table, sort=False).encode("ascii")
    text += b" " * (-len(text) % 8)
    if len(text) > LARGEST_TABLE:
        raise ValueError(
            f"the header comes to {len(text)} bytes, allowed are {LARGEST_TABLE}; put less into provenance, results "
            "or certificate"
        )
    return len(text).to_bytes(8, "little") + text


def unpack(
    data: bytes, where: object, *, verify: bool = True, kind: str = KIND, newest: int = VERSION
) -> tuple[dict[str, Any], Tensors]:
    """Header and tensors of a whole file of this kind, or a ValueError that says in one sentence why not.

    The tensors are views of `data`. verify False leaves out the checksum alone, to try what lies behind it.
    """
    if len(data) < _TO or data[8:_FROM] != START:
        origin = "`bitspike lower` makes one from a model file" if kind == KIND else "`bitspike train` makes one"
        raise ValueError(f"{where} is no {kind} (.bsp); {origin}")
    size = 8 + int.from_bytes(data[:8], "little")
    table = _parse(data[8:size]) if size <= min(len(data), 8 + LARGEST_TABLE) else None
    if verify and _digest(data) != data[_FROM:_TO]:
        short = table is None or _data_size(table) > len(data) - size
        what = "truncated or damaged" if short else "damaged"
        raise ValueError(f"{where} is {what}: its checksum does not hold; copy it again or make it anew")
    header = None if table is None else _header(table)
    if table is None or header is None:
        raise ValueError(f"{where} is no {kind}: its table cannot be read; make it anew")
    _refuse_other_formats(header, where, kind, newest)
    try:
        return header, _tensors(table, np.frombuffer(data, np.uint8, offset=size))
    except ValueError as error:
        raise ValueError(f"{where}: {error}; make the file anew") from None


def kind_of(path: str | Path) -> str | None:
    """Which kind a file says it is, without looking at the rest; None where it is none of these."""
    file = Path(path)
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        head = opened.read(_TO)
        if head[8:_FROM] != START:
            return None
        size = min(int.from_bytes(head[:8], "little"), LARGEST_TABLE)
        opened.seek(8)
        table = _parse(opened.read(size))
    header = _header(table)
    found = None if header is None else header.get("format")
    return found if isinstance(found, str) else None


def _signed(head: bytes, body: bytes) -> bytes:
    digest = _digest(head, body)
    return b"".join((head[:_FROM], digest, head[_TO:], body))


def _digest(data: bytes, body: bytes = b"") -> bytes:
    """Sha256, in hexadecimal, over all bytes but those that hold it."""
    found = hashlib.sha256(data[:_FROM])
    found.update(memoryview(data)[_TO:])
    found.update(body)
    return found.hexdigest().encode("ascii")


def _json(value: Any, *, sort: bool) -> str:
    try:
        return json.dumps(value, sort_keys=sort, separators=(",", ":"), allow_nan=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"the header can hold plain data only (texts, finite numbers, lists, dicts): {error}"
        ) from None


def _plain(value: Any) -> Any:
    """Numbers of numpy are numbers."""
    if isinstance(value, np.integer | np.floating | np.bool_):
        return value.item()
    raise TypeError(f"{type(value).__name__} is none of these")


def _parse(text: bytes | str) -> Any:
    """JSON in which no object has a key twice; None where it is none."""
    try:
        plain = text if isinstance(text, str) else text.decode("ascii")
        return json.loads(plain, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number of JSON")


def _data_size(table: Any) -> int:
    """How many bytes of tensors a table speaks of, as far as it can be read."""
    entries = table.values() if isinstance(table, dict) else ()
    offsets = [entry["data_offsets"] for entry in entries if isinstance(entry, dict) and "data_offsets" in entry]
    ends = [pair[-1] for pair in offsets if isinstance(pair, list) and pair]
    return max((end for end in ends if isinstance(end, int)), default=0)


def _header(table: Any) -> dict[str, Any] | None:
    metadata = table.get("__metadata__") if isinstance(table, dict) else None
    if not isinstance(metadata, dict) or list(metadata) != ["sha256", "bitspike"]:
        return None
    text = metadata["bitspike"]
    header = _parse(text) if isinstance(text, str) else None
    return header if isinstance(header, dict) else None


def _refuse_other_formats(header: Mapping[str, Any], where: object, kind: str, newest: int) -> None:
    found, version = header.get("format"), header.get("version")
    if found != kind and found in (KIND, *OTHER_KINDS):
        use = OTHER_KINDS.get(str(found), "`bitspike evaluate`, `measure`, `certify` and `export` take it")
        raise ValueError(f"{where} is a {found}, not a {kind}; {use}")
    if found != kind or not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ValueError(f"{where} is no {kind}: its header does not say so; make the file anew")
    if version > newest:
        raise ValueError(
            f"{where} has version {version} of the .bsp format, but this bitspike reads up to {newest}; update bitspike"
        )


def _tensors(table: Mapping[str, Any], body: NDArray[np.uint8]) -> Tensors:
    """The tensors as views of the body, which they must fill without gaps."""
    found: Tensors = {}
    place = 0
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        if len(name) > _LONGEST:
            raise ValueError(f"a tensor's name has {len(name)} characters; allowed: up to {_LONGEST}")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"tensor {name!r} is not described by dtype, shape and data_offsets")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise ValueError(f"tensor {name!r} has an unknown dtype; allowed: {', '.join(_DTYPES)}")
        if not _numbers(shape, 1) or not 1 <= len(shape) <= 2 or not _numbers(offsets, 0):
            raise ValueError(f"tensor {name!r} has no shape of one or two sizes above 0, or no offsets")
        kind = np.dtype(_DTYPES[dtype])
        end = place + math.prod(shape) * kind.itemsize
        if offsets != [place, end] or end > len(body):
            raise ValueError(f"tensor {name!r} does not lie where the one before it ends, within the file")
        if place % kind.itemsize:
            raise ValueError(f"tensor {name!r} is not aligned to its type")
        found[name] = body[place:end].view(kind).reshape(shape)
        place = end
    if place != len(body):
        raise ValueError(f"the tensors fill {place} bytes, but the file holds {len(body)}")
    return found


def _numbers(value: Any, smallest: int) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= smallest for item in value)
