"""Event recordings as arrays: the record type, N-MNIST's 5-byte events, and `.npy` files.

Every reader returns a structured array of dtype `EVENT`: x (column), y (row), t (microseconds), p (1 on, 0
off).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EVENT = np.dtype([("x", "<u2"), ("y", "<u2"), ("t", "<i8"), ("p", "u1")])
_NMNIST_BYTES = 5
# N-MNIST's converter marks an overflow of its 13-bit sub-clock by an event in this row, outside the sensor.
_OVERFLOW_ROW = 240
_OVERFLOW_TIME = 1 << 13


def make_events(
    x: NDArray[Any], y: NDArray[Any], t: NDArray[Any], p: NDArray[Any], *, where: str = "events"
) -> NDArray[Any]:
    """Return an `EVENT` array from four columns of equal length; p may be 0/1, true/false or -1/+1.

    Floats are taken where they are whole numbers, since many exports write nothing else.
    """
    columns = {name: _whole_numbers(column, name, where) for name, column in zip("xytp", (x, y, t, p), strict=True)}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{where}: the columns differ in length: {lengths}")
    for name in "xy":
        column = columns[name]
        if column.size and not 0 <= int(column.min()) <= int(column.max()) < 1 << 16:
            raise ValueError(
                f"{where}: {name} runs from {column.min()} to {column.max()}, but must lie in 0..65535; "
                "is the order of the columns right?"
            )
    if not np.isin(columns["p"], (-1, 0, 1)).all():
        raise ValueError(f"{where}: polarities must be 0/1 or -1/+1; is the order of the columns right?")
    events = np.empty(len(columns["x"]), dtype=EVENT)
    for name in "xyt":
        events[name] = columns[name]
    events["p"] = columns["p"] > 0
    return events


def _whole_numbers(column: NDArray[Any], name: str, where: str) -> NDArray[np.int64]:
    array = np.asarray(column)
    if array.ndim != 1 or array.dtype.kind not in "iubf":
        raise TypeError(f"{where}: column {name} is {array.dtype} {list(array.shape)}, but must be integers [N]")
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array)) & (abs(array) < 2**53)).all():
        raise ValueError(f"{where}: column {name} holds fractions; give whole numbers (times in microseconds)")
    if array.dtype == np.uint64 and array.size and int(array.max()) >= 1 << 63:
        raise ValueError(f"{where}: column {name} holds {int(array.max())}, which does not fit 63 bits")
    return array.astype(np.int64)


def decode_nmnist(data: bytes, where: str = "N-MNIST recording") -> NDArray[Any]:
    """Return the events of an N-MNIST `.bin` or `.bs2` recording: 5 bytes each.

    Byte 0 is x, byte 1 y; the top bit of byte 2 is the polarity (1 = on), its other 7 bits and bytes 3 and 4
    the time in microseconds, big-endian. An event in row 240 is no event: it adds 2^13 microseconds to all
    that follow.
    """
    if len(data) % _NMNIST_BYTES:
        raise ValueError(f"{where}: {len(data)} bytes, not a multiple of 5; the recording is cut short")
    raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, _NMNIST_BYTES)
    time = (raw[:, 2] & 0x7F).astype(np.int64) << 16 | raw[:, 3].astype(np.int64) << 8 | raw[:, 4]
    overflow = raw[:, 1] == _OVERFLOW_ROW
    time += np.cumsum(overflow) * _OVERFLOW_TIME
    events = np.empty(len(raw), dtype=EVENT)
    events["x"], events["y"], events["t"], events["p"] = raw[:, 0], raw[:, 1], time, raw[:, 2] >> 7
    real: NDArray[Any] = events[~overflow]
    return real


def read_npy(path: Path, columns: str = "xytp") -> NDArray[Any]:
    """Return what a `.npy` file holds: events (an `EVENT` array) or frames (integers `[F, 2, H, W]`).

    Events are a structured array with the fields x, y, t, p, or an array `[N, 4]` whose columns stand in the
    order `columns`. Object arrays are refused: they are pickles.
    """
    if sorted(columns) != sorted("xytp"):
        raise ValueError(f"columns is {columns!r}, but must name x, y, t and p once each, for example 'xytp' or 'txyp'")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{path}: no readable .npy file of plain numbers ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path}: an archive of several arrays; save one .npy file per recording")
    if array.dtype.names is not None:
        if missing := [name for name in "xytp" if name not in array.dtype.names]:
            raise ValueError(f"{path}: the structured array lacks {missing}; it needs the fields x, y, t, p")
        return make_events(*[array[name].ravel() for name in "xytp"], where=str(path))
    if array.ndim == 2 and array.shape[1] == 4:
        return make_events(*[array[:, columns.index(name)] for name in "xytp"], where=str(path))
    if array.ndim == 4 and array.shape[1] == 2 and array.dtype.kind in "iub":
        return array
    raise ValueError(
        f"{path}: an array {array.dtype} {list(array.shape)}; allowed are events [N, 4], a structured array "
        "with x, y, t, p, or integer frames [F, 2, H, W]"
    )
