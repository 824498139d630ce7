import operator
import os
import pickle
import struct
import types
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.data.restricted_pickle import load_plain_pickle

ran: list[str] = []


def harmful(*arguments):
    ran.append("harm")
    return arguments


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Plain:
    pass


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


@given(plain_data, st.sampled_from([0, 1, 2, 3, 4]))
def test_plain_data_reads_as_pickle_reads_it(value, protocol):
    assert load_plain_pickle(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(12, dtype=">i4").reshape(2, 3, 2),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 5), np.int64),
    ],
    ids=["uint8", "big-endian", "fortran", "empty"],
)
def test_arrays_of_plain_numbers(protocol, array):
    if protocol == 2 and array.size == 0:
        pytest.skip("Python 3 writes empty bytes at protocol 2 as a call of `bytes`; no CIFAR file has that")
    result = load_plain_pickle(pickle.dumps({"data": array, "again": array}, protocol))
    np.testing.assert_array_equal(result["data"], array)
    assert result["data"].dtype == array.dtype
    assert result["again"] is result["data"]


def python2_batch(pixels: bytes, dtype: bytes = b"u1", module: bytes = b"numpy.core.multiarray") -> bytes:
    """Return what Python 2 wrote for {'data': array, 'labels': [3]}: byte strings, protocol 2, memo and all."""
    return b"".join(
        [
            b"\x80\x02}q\x01(U\x04dataq\x02c" + module + b"\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85",
            b"U\x01b\x87Rq\x05(K\x01K\x01M" + struct.pack("<H", len(pixels)) + b"\x86cnumpy\ndtype\nq\x06",
            b"U" + bytes([len(dtype)]) + dtype + b"K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff",
            b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(pixels)) + pixels + b"tb",
            b"U\x06labels]q\x08K\x03au.",
        ]
    )


def test_python_2_batch():
    result = load_plain_pickle(python2_batch(bytes(range(200, 210))))
    assert result["labels"] == [3]
    assert result["data"].dtype == np.uint8
    assert result["data"].tolist() == [list(range(200, 210))]


HOSTILE = {
    "os.system": Calls(os.system, "echo harm > harm.txt"),
    "builtins.eval": Calls(eval, "harmful()"),
    "builtins.exec": Calls(exec, "import os"),
    "getattr": Calls(getattr, "text", "upper"),
    "nested getattr": Calls(getattr, Calls(getattr, Plain(), "__class__"), "__mro__"),
    "own function": Calls(harmful, 1),
    "attrgetter": Calls(operator.attrgetter, "system"),
    "partial": partial(harmful, 1),
    "class instance": Plain(),
    "set": {1, 2},
    "bytearray": bytearray(b"1"),
    "complex": complex(1, 2),
    "object array": np.array([Calls(harmful, 1), None], dtype=object),
    "object array of plain things": np.array([1, "a"], dtype=object),
    "structured array": np.zeros(2, [("a", "i4"), ("b", "O")]),
    "text array": np.array(["a", "b"]),
    "datetime array": np.array(["2020-01-01"], "M8[D]"),
    "numpy scalar": np.float64(1.0),
    "dtype alone": np.dtype("u1"),
    "function by name": os.system,
    "ndarray class": np.ndarray,
    "hidden in a key": {("a", 1): 2},
}


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused_and_nothing_runs(name, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in (HOSTILE[name], {"data": HOSTILE[name]}, [(HOSTILE[name],)]):
        with pytest.raises(ValueError, match="upload: refused as a pickle of plain data: "):
            load_plain_pickle(pickle.dumps(value, protocol), "upload")
    assert ran == []
    assert list(tmp_path.iterdir()) == []


HAND_WRITTEN = {
    "classic shell": b"cos\nsystem\n(S'echo harm > harm.txt'\ntR.",
    "getattr chain": b"cbuiltins\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'ls'\ntR.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02ls\x85R.",
    "nested attribute": b"\x80\x04\x8c\x05numpy\x8c\x18ndarray.__class__.__base__\x93.",
    "INST": b"(S'ls'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'ls'\no.",
    "NEWOBJ": b"cnumpy\nndarray\n(K\x01t\x81.",
    "persistent id": b"Pharm\n.",
    "extension code": b"\x82\x01.",
    "call of ndarray": b"cnumpy\nndarray\n(K\x01tR.",
    "array of a foreign class": b"cnumpy.core.multiarray\n_reconstruct\n(S'x'\n(K\x00tS'b'\ntR.",
    "wrong codec": b"c_codecs\nencode\n(S'x'\nS'punycode'\ntR.",
    "state of a dict": b"}(K\x01tb.",
    "unfinished array": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tS'b'\ntR.",
    "name in nested tuple": b"(((cnumpy\nndarray\ntttt.",
    "no stop": b"]",
    "empty": b"",
    "stack underflow": b"a.",
    "missing memo": b"h\x05.",
    "mark as value": b"(.",
    "append to mark": b"(K\x01a.",
    "two values": b"K\x01K\x02.",
    "unknown opcode": b"\xff.",
    "cut string": b"T\x00\x00\x00\x7fabc.",
}


@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_hand_written_attacks(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="refused as a pickle of plain data"):
        load_plain_pickle(HAND_WRITTEN[name])
    assert list(tmp_path.iterdir()) == []


def test_messages_name_what_was_refused():
    with pytest.raises(ValueError, match=r"it names 'os\.system'"):
        load_plain_pickle(HAND_WRITTEN["classic shell"])
    with pytest.raises(ValueError, match="dtype 'O8'; allowed are plain numbers"):
        load_plain_pickle(python2_batch(bytes(8), b"O8"))


def test_array_size_must_match_its_bytes():
    data = python2_batch(bytes(10)).replace(struct.pack("<H", 10) + b"\x86", struct.pack("<H", 11) + b"\x86")
    with pytest.raises(ValueError, match=r"array of shape \[1, 11\] and dtype uint8 has 10 bytes"):
        load_plain_pickle(data)


def test_repetition_cannot_multiply_memory():
    text = b"X" + struct.pack("<I", 50_000) + b"a" * 50_000 + b"q\x01"
    again = b"c_codecs\nencode\n(h\x01X\x06\x00\x00\x00latin1tR"
    with pytest.raises(ValueError, match="encodes more text than the file holds"):
        load_plain_pickle(text + again * 40 + b".")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(st.binary(max_size=60))
def test_noise_is_data_or_a_value_error(noise):
    try:
        value = load_plain_pickle(noise)
    except ValueError as error:
        assert "refused" in str(error)
    else:
        assert isinstance(value, int | float | str | bytes | list | dict | tuple | None | np.ndarray)


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")
@given(st.data())
def test_damaged_batches_are_data_or_a_value_error(data):
    batch = bytearray(python2_batch(bytes(range(20))))
    position = data.draw(st.integers(0, len(batch) - 1))
    batch[position] = data.draw(st.integers(0, 255))
    try:
        value = load_plain_pickle(bytes(batch))
    except ValueError as error:
        assert "refused" in str(error)
    else:
        assert not isinstance(value, types.FunctionType | type)
    assert ran == []
