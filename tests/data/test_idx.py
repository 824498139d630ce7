import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bitspike.data.idx import parse_idx


def encode(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5))))
def test_round_trip(array):
    np.testing.assert_array_equal(parse_idx(encode(array), 3, "x"), array)


def test_known_bytes():
    data = bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])
    assert parse_idx(data, 1, "labels").tolist() == [7, 8, 9]
    assert int.from_bytes(data[:4], "big") == 2049


def test_wrong_magic_names_both_numbers():
    labels = encode(np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match="images: wrong magic number 2049, an IDX file of images begins with 2051"):
        parse_idx(labels, 3, "images")
    with pytest.raises(ValueError, match="still packed"):
        parse_idx(b"\x1f\x8b\x08\x00", 1, "labels")
    with pytest.raises(ValueError, match="wrong magic number 0"):
        parse_idx(b"", 1, "labels")


@pytest.mark.parametrize("cut", [1, 5, 12, 20])
def test_truncation(cut):
    whole = encode(np.ones((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="cut short"):
        parse_idx(whole[:-cut], 3, "images")
    with pytest.raises(ValueError, match=r"header \(2 x 2 x 3\) asks for 28"):
        parse_idx(whole + b"\0", 3, "images")
