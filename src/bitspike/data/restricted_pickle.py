"""Read plain data out of a pickle without running anything in it.

CIFAR's batches are pickles, and a pickle is a small program: the standard loader imports and calls whatever
the file names. This reader never calls the `pickle` machine. It walks the opcodes (`pickletools.genops` only
splits the file into opcodes and arguments) and interprets by itself the few that build dicts, lists, tuples,
strings, bytes, numbers and numpy arrays of plain numbers. A name in the file is a mere label, compared
against the five spellings below; nothing is ever imported or looked up. Everything else is refused: classes,
other calls, object arrays (which would hold further pickled objects), persistent ids, extension codes.

Byte strings of Python 2 come back as `str` (latin-1), as `encoding="latin1"` does.
"""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_ARRAY_CLASS = "numpy ndarray"
_DTYPE_CLASS = "numpy dtype"
_ENCODE = "_codecs encode"
_DTYPES = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_KEYS = (str, bytes, int)


class _Name:
    """A module and attribute name from the file: only text, never looked up."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Dtype:
    """A numpy dtype under construction."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "="


class _Array:
    """An array between its creation and its state; `value` is set by the BUILD opcode."""

    value: np.ndarray[Any, Any] | None = None


class _Mark:
    pass


def load_plain_pickle(data: bytes, where: str = "pickle") -> Any:
    """Return the plain data in `data`; anything but plain data is a `ValueError` naming what was refused."""
    machine = _Machine(len(data))
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name == "STOP":
                return machine.finish()
            machine.step(opcode.name, argument)
        raise ValueError("it has no end")
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, UnicodeError, struct.error) as error:
        text = f"nothing stored at {error}" if isinstance(error, KeyError) else str(error) or "it is cut short"
        raise ValueError(f"{where}: refused as a pickle of plain data: {text}") from error


class _Machine:
    """The stack, the memo, and one method per kind of opcode."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.budget = size  # text turned into bytes; bounds what a small file can allocate by repetition

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(argument)] = self.top()
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(_settled(self.memo[int(argument)]))
        elif name == "GLOBAL":
            self.stack.append(_known_name(argument))
        elif name in _METHODS:
            _METHODS[name](self)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"it uses the opcode {name}, which plain data does not need")

    def top(self) -> Any:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise ValueError("its stack is empty")
        return self.stack[-1]

    def pop(self) -> Any:
        self.top()
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[position], _Mark):
                items = self.stack[position + 1 :]
                del self.stack[position:]
                return items
        raise ValueError("a mark is missing")

    def finish(self) -> Any:
        result = _plain(self.pop())
        if self.stack:
            raise ValueError("it leaves several values")
        return result

    def tuple_of(self, count: int) -> None:
        self.push_tuple([self.pop() for _ in range(count)][::-1])

    def push_tuple(self, items: list[Any]) -> None:
        # Arguments of a call are a tuple that may hold names; a tuple inside a tuple may not, so none can hide.
        self.stack.append(tuple(_plain(item) if isinstance(item, tuple) else _settled(item) for item in items))

    def push_dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self.set_items(items)

    def stack_global(self) -> None:
        attribute, module = self.pop(), self.pop()
        self.stack.append(_known_name(f"{module} {attribute}"))

    def append(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise ValueError(f"it appends to a {type(target).__name__}")
        target.extend(_plain(item) for item in items)

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("it sets items on something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, _KEYS):
                raise ValueError(f"a dict key is a {type(key).__name__}, allowed are strings and integers")
            target[key] = _plain(value)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        text = function.text if isinstance(function, _Name) else type(function).__name__
        if not isinstance(arguments, tuple):
            raise ValueError(f"it calls {text!r} without a tuple")
        if text in _RECONSTRUCT and isinstance(arguments[0], _Name) and arguments[0].text == _ARRAY_CLASS:
            self.stack.append(_Array())
        elif text == _DTYPE_CLASS and arguments and isinstance(arguments[0], str):
            if arguments[0] not in _DTYPES:
                raise ValueError(f"it holds an array of dtype {arguments[0][:20]!r}; allowed are plain numbers")
            self.stack.append(_Dtype(arguments[0]))
        elif text == _ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", "latin-1"):
            self.stack.append(self.to_bytes(arguments[0]))
        else:
            raise ValueError(f"it calls {text!r}, and plain data calls nothing")

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if not isinstance(state, tuple):
            raise ValueError("it sets an object's state without a tuple")
        if isinstance(target, _Dtype) and len(state) >= 5 and state[1] in ("|", "<", ">", "="):
            if any(part is not None for part in state[2:5]):
                raise ValueError("it holds an array with sub-arrays or fields; allowed are plain numbers")
            target.order = state[1]
        elif isinstance(target, _Array) and len(state) == 5 and target.value is None:
            shape, dtype, fortran, content = state[1:]
            target.value = _make_array(shape, dtype, fortran, self.to_bytes(content))
            self.stack[-1] = target.value
        else:
            raise ValueError(f"it sets the state of a {type(target).__name__}")

    def to_bytes(self, content: Any) -> bytes:
        if isinstance(content, bytes):
            return content
        if not isinstance(content, str):
            raise ValueError(f"a {type(content).__name__} stands where text or bytes belong")
        self.budget -= len(content)
        if self.budget < 0:
            raise ValueError("it encodes more text than the file holds")
        return content.encode("latin-1")


def _make_array(shape: Any, dtype: Any, fortran: Any, content: bytes) -> np.ndarray[Any, Any]:
    if not isinstance(dtype, _Dtype):
        raise ValueError("an array has no plain dtype")
    if not isinstance(shape, tuple) or not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise ValueError("an array's shape is no tuple of sizes")
    final = np.dtype(("=" if dtype.order == "|" else dtype.order) + dtype.code)
    if prod(shape) * final.itemsize != len(content):
        raise ValueError(f"an array of shape {list(shape)} and dtype {final} has {len(content)} bytes")
    return np.frombuffer(content, dtype=final).reshape(shape, order="F" if fortran else "C")


def _settled(value: Any) -> Any:
    """Return the finished array for one fetched from the memo."""
    return value.value if isinstance(value, _Array) and value.value is not None else value


def _plain(value: Any) -> Any:
    value = _settled(value)
    for part in (value, *value) if isinstance(value, tuple) else (value,):
        if isinstance(part, _Name | _Dtype | _Array | _Mark):
            raise ValueError(f"it puts an unfinished {type(part).__name__.strip('_').lower()} into a container")
    return value


def _known_name(text: str) -> _Name:
    if text not in _RECONSTRUCT | {_ARRAY_CLASS, _DTYPE_CLASS, _ENCODE}:
        raise ValueError(f"it names {text[:100].replace(' ', '.')!r}, and plain data names no code")
    return _Name(text)


_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": _Mark,
}
_LITERALS = {
    "BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "BINFLOAT", "FLOAT", "BINSTRING",
    "SHORT_BINSTRING", "STRING", "BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINBYTES", "SHORT_BINBYTES"
}  # fmt: skip
_METHODS: dict[str, Callable[[_Machine], None]] = {
    "TUPLE": lambda machine: machine.push_tuple(machine.pop_to_mark()),
    "TUPLE1": lambda machine: machine.tuple_of(1),
    "TUPLE2": lambda machine: machine.tuple_of(2),
    "TUPLE3": lambda machine: machine.tuple_of(3),
    "LIST": lambda machine: machine.stack.append([_plain(item) for item in machine.pop_to_mark()]),
    "APPEND": lambda machine: machine.append([machine.pop()]),
    "APPENDS": lambda machine: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine: machine.set_items([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine: machine.set_items(machine.pop_to_mark()),
    "DICT": lambda machine: machine.push_dict(machine.pop_to_mark()),
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
