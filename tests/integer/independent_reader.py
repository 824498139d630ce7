"""A reader of `.bsp` files that was written from docs/reference/format.md alone; it knows nothing of bitspike."""

import hashlib
import json
import struct

import numpy as np

DTYPES = {"U8": "u1", "I8": "i1", "I16": "<i2", "I32": "<i4"}


def read(data):
    """Header and tensors of a file."""
    (length,) = struct.unpack("<Q", data[:8])
    assert data[8:35] == b'{"__metadata__":{"sha256":"'
    assert data[35:99].decode() == hashlib.sha256(data[:35] + data[99:]).hexdigest()
    table = json.loads(data[8 : 8 + length])
    header = json.loads(table.pop("__metadata__")["bitspike"])
    assert header["format"] == "bitspike integer network" and header["version"] in (1, 2, 3)
    tensors = {}
    for name, entry in table.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return header, tensors


def codes(weight, tensors):
    """Whole-number weights [C_out, C_in] or [C_out, C_in, y, x]."""
    shape, bits = weight["shape"], weight["bits"]
    q = np.zeros(np.prod(shape), int)
    for i in range(q.size):
        for k in range(bits):
            q[i] |= (int(tensors[weight["planes"]][k, i // 8]) >> (i % 8) & 1) << k
    q = np.where(q < 2 ** (bits - 1), q, q - 2**bits) if weight["grid"] == "signed" else 2 * q - (2**bits - 1)
    if len(shape) == 2:
        return q.reshape(shape[1], shape[0]).T
    return q.reshape(*shape[2:], shape[1], shape[0]).transpose(3, 2, 0, 1)


def run_dense(header, tensors, steps):
    """Logits of an input, a flatten, dense layers without skips (hard reset, no randomness) and a readout."""
    _, _, *layers, last = header["graph"]
    sums = np.zeros(last["weight"]["shape"][0], int)
    stored = [0] * len(layers)
    for values in steps:
        for place, layer in enumerate(layers):
            fire = layer["fire"]
            a = (codes(layer["operator"]["weight"], tensors) @ values) << tensors[fire["shift"]].astype(int)
            i = (stored[place] * fire["leak"] << (fire["g"] - fire["leak_exponent"])) + a
            shift = fire.get("table_shift", 0)
            threshold = tensors[fire["threshold"]][:, 0].astype(int) << shift
            rounding = tensors[fire["rounding"]][:, 0].astype(int) << shift
            spikes = i >= threshold
            kept = (i + rounding) >> fire["g"]
            stored[place] = np.where(spikes, 0, np.clip(kept, -fire["levels"], fire["levels"]))
            values = spikes.astype(int)  # noqa: PLW2901
        sums += codes(last["weight"], tensors) @ values
    return sums + tensors[last["bias"]]
