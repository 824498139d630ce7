"""AEDAT recordings, versions 2.0 (DVS-CIFAR10) and 3.1 (DVS-Gesture); both begin with text lines.

2.0: big-endian pairs of 32 bits, address and time in microseconds. For a DVS128 sensor the address holds
     polarity (bit 0), one coordinate (bits 1-7) and the other (bits 8-14); addresses with higher bits set are
     no pixel events and are left out.
3.1: little-endian packets with a header of 28 bytes; packets of type 1 hold polarity events of 8 bytes:
     validity (bit 0), polarity (bit 1), y (bits 2-16), x (bits 17-31), then the time in microseconds, below
     2^31, to which the packet's overflow count adds multiples of 2^31. Other packets and invalid events are
     skipped.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.data.events import EVENT

_PACKET = struct.Struct("<hhiiiiii")
_POLARITY_TYPE = 1
_DVS128_LAST = 127


def split_header(data: bytes, where: str) -> tuple[str, int]:
    """Return the version ("2.0", "3.1", ...) and the offset at which the binary part begins."""
    if not data.startswith(b"#!AER-DAT"):
        raise ValueError(f"{where}: does not begin with '#!AER-DAT'; is it an AEDAT recording?")
    first = data[: data.find(b"\n")]
    version = first.removeprefix(b"#!AER-DAT").strip().decode("latin-1")
    offset = 0
    while data[offset : offset + 1] == b"#":
        end = data.find(b"\n", offset)
        if end < 0:
            raise ValueError(f"{where}: cut short within its header; copy or fetch it again")
        line, offset = data[offset:end], end + 1
        if line.startswith(b"#Format:") and line.strip() != b"#Format: RAW":
            raise ValueError(f"{where}: {line.strip().decode('latin-1')!r} is not supported; allowed is RAW")
        if line.strip() == b"#!END-HEADER":
            return version, offset
    if version.startswith("3"):
        raise ValueError(f"{where}: the line '#!END-HEADER' is missing; the recording is damaged")
    return version, offset


def decode_aedat(data: bytes, where: str = "AEDAT recording") -> NDArray[Any]:
    """Return the events of an AEDAT 2.0 (DVS128) or 3.1 recording; other versions are refused."""
    version, offset = split_header(data, where)
    if version == "2.0":
        return decode_aedat2(data[offset:], where)
    if version == "3.1":
        return decode_aedat3(data[offset:], where)
    raise ValueError(f"{where}: AEDAT version {version!r} is not supported; allowed are 2.0 and 3.1")


def decode_aedat2(body: bytes, where: str, *, upright: bool = True) -> NDArray[Any]:
    """Return the events of the binary part of an AEDAT 2.0 recording from a DVS128.

    upright: turn coordinates so that DVS-CIFAR10's pictures stand upright: x = 127 - (bits 8-14),
        y = 127 - (bits 1-7), and on = not bit 0, the convention of that data set's readers. With False: x = bits 1-7,
        y = bits 8-14, p = bit 0, as they stand in the file.
    """
    if len(body) % 8:
        raise ValueError(f"{where}: {len(body)} bytes of events, not a multiple of 8; the recording is cut short")
    words = np.frombuffer(body, dtype=">u4").reshape(-1, 2)
    words = words[words[:, 0] >> 15 == 0]
    address = words[:, 0]
    low, high, bit = address >> 1 & 0x7F, address >> 8 & 0x7F, address & 1
    events = np.empty(len(words), dtype=EVENT)
    events["t"] = words[:, 1].astype(np.uint32).view(np.int32)
    if upright:
        events["x"], events["y"], events["p"] = _DVS128_LAST - high, _DVS128_LAST - low, 1 - bit
    else:
        events["x"], events["y"], events["p"] = low, high, bit
    return events


def decode_aedat3(body: bytes, where: str) -> NDArray[Any]:
    """Return the valid polarity events of the packets of an AEDAT 3.1 recording."""
    parts = []
    offset = 0
    while offset < len(body):
        if offset + _PACKET.size > len(body):
            raise ValueError(f"{where}: cut short within a packet header at byte {offset} of its binary part")
        kind, _, size, time_offset, overflow, capacity, number, _ = _PACKET.unpack_from(body, offset)
        offset += _PACKET.size
        if size <= 0 or not 0 <= number <= capacity or overflow < 0:
            raise ValueError(f"{where}: a damaged packet header before byte {offset} of its binary part")
        if offset + size * capacity > len(body):
            raise ValueError(f"{where}: cut short: a packet of {size * capacity} bytes at byte {offset} is not whole")
        if kind == _POLARITY_TYPE:
            if size != 8 or time_offset != 4:
                raise ValueError(f"{where}: polarity events of {size} bytes, but AEDAT 3.1 has 8")
            parts.append(_polarity_events(body[offset : offset + 8 * number], overflow))
        offset += size * capacity
    return np.concatenate(parts) if parts else np.empty(0, dtype=EVENT)


def _polarity_events(payload: bytes, overflow: int) -> NDArray[Any]:
    words = np.frombuffer(payload, dtype="<u4").reshape(-1, 2)
    words = words[words[:, 0] & 1 == 1]
    data = words[:, 0]
    events = np.empty(len(words), dtype=EVENT)
    events["p"], events["y"], events["x"] = data >> 1 & 1, data >> 2 & 0x7FFF, data >> 17 & 0x7FFF
    events["t"] = words[:, 1].astype(np.int64) + (overflow << 31)
    return events
