import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.data import make_events, read_recording
from bitspike.data.events import EVENT, decode_nmnist, read_npy

events_lists = st.lists(
    st.tuples(st.integers(0, 33), st.integers(0, 33), st.integers(0, 2**23 - 1), st.integers(0, 1)), max_size=30
)


def encode_nmnist(events) -> bytes:
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for x, y, t, p in events)


@given(events_lists)
def test_nmnist_round_trip(events):
    decoded = decode_nmnist(encode_nmnist(events))
    assert decoded.dtype == EVENT
    assert [tuple(int(value) for value in event) for event in decoded] == events


def test_nmnist_by_hand():
    # x 3, y 4, polarity on, time 0x012345; then x 5, y 6, off, time 0x7fffff.
    events = decode_nmnist(bytes([3, 4, 0x81, 0x23, 0x45, 5, 6, 0x7F, 0xFF, 0xFF]))
    assert events.tolist() == [(3, 4, 0x12345, 1), (5, 6, 0x7FFFFF, 0)]


def test_nmnist_overflow_rows_move_time_on():
    events = decode_nmnist(encode_nmnist([(1, 1, 10, 1), (0, 240, 0, 0), (2, 2, 20, 0), (0, 240, 0, 0), (3, 3, 30, 1)]))
    assert events["t"].tolist() == [10, 20 + 8192, 30 + 16384]
    assert events["x"].tolist() == [1, 2, 3]


def test_cut_recording(tmp_path):
    path = tmp_path / "1.bs2"
    path.write_bytes(encode_nmnist([(1, 1, 10, 1)])[:-1])
    with pytest.raises(ValueError, match=r"1\.bs2: 4 bytes, not a multiple of 5; the recording is cut short"):
        read_recording(path)


def test_make_events_takes_signs_booleans_and_whole_floats():
    t = np.array([5.0, 6.0, 7.0])
    events = make_events(np.array([1, 2, 3]), np.array([4, 5, 6], np.uint8), t, np.array([-1, 1, 1]))
    assert events.tolist() == [(1, 4, 5, 0), (2, 5, 6, 1), (3, 6, 7, 1)]
    booleans = make_events(np.array([1]), np.array([1]), np.array([1]), np.array([True]))
    assert booleans["p"].tolist() == [1]


ONE = np.array([1])


@pytest.mark.parametrize(
    ("columns", "kind", "message"),
    [
        ((ONE, ONE, np.array([1, 2]), ONE), ValueError, "the columns differ in length"),
        ((-ONE, ONE, ONE, ONE), ValueError, r"x runs from -1 to -1, but must lie in 0\.\.65535"),
        ((ONE, ONE, ONE, ONE * 7), ValueError, "polarities must be 0/1 or -1/\\+1"),
        ((ONE, ONE, ONE * 0.5, ONE), ValueError, "column t holds fractions"),
        ((ONE, ONE, ONE * np.nan, ONE), ValueError, "column t holds fractions"),
        ((ONE, ONE, ONE.astype(str), ONE), TypeError, "column t is <U"),
        ((ONE, ONE, np.array([2**63], np.uint64), ONE), ValueError, "does not fit 63 bits"),
        ((np.ones((1, 1)), ONE, ONE, ONE), TypeError, r"column x is float64 \[1, 1\]"),
    ],
)
def test_bad_columns(columns, kind, message):
    with pytest.raises(kind, match=message):
        make_events(*columns)


def test_npy_structured_in_any_field_order_and_type(tmp_path):
    dtype = [("t", "<u4"), ("p", "?"), ("y", "<i2"), ("x", "<i2")]
    np.save(tmp_path / "a.npy", np.array([(100, True, 4, 3), (200, False, 6, 5)], dtype))
    assert read_recording(tmp_path / "a.npy").tolist() == [(3, 4, 100, 1), (5, 6, 200, 0)]


@pytest.mark.parametrize(
    ("columns", "row"), [("xytp", [3, 4, 100, 1]), ("txyp", [100, 3, 4, 1]), ("ptyx", [1, 100, 4, 3])]
)
def test_npy_rows_in_the_stated_order(tmp_path, columns, row):
    np.save(tmp_path / "a.npy", np.array([row], np.float64))
    assert read_npy(tmp_path / "a.npy", columns).tolist() == [(3, 4, 100, 1)]


def test_npy_frames_stay_frames(tmp_path):
    frames = np.arange(3 * 2 * 4 * 5).reshape(3, 2, 4, 5)
    np.save(tmp_path / "a.npy", frames)
    np.testing.assert_array_equal(read_recording(tmp_path / "a.npy"), frames)


def test_bad_npy_files(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"a\.npy: no readable \.npy file of plain numbers"):
        read_npy(path)
    for content in (b"", b"no numpy here", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npy: no readable"):
            read_npy(path)
    np.save(path, np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"an array float64 \[3, 5\]; allowed are events"):
        read_npy(path)
    np.save(path, np.zeros(3, [("x", "i4"), ("y", "i4"), ("t", "i4")]))
    with pytest.raises(ValueError, match=r"lacks \['p'\]"):
        read_npy(path)
    with pytest.raises(ValueError, match="must name x, y, t and p once each"):
        read_npy(path, "xyt")
    with path.open("wb") as stream:
        np.savez(stream, np.zeros(3))
    with pytest.raises(ValueError, match="an archive of several arrays"):
        read_npy(path)


def test_unknown_type_and_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"'\.mat' are not supported; allowed: \.aedat, \.bin, \.bs2, \.npy"):
        read_recording(tmp_path / "a.mat")
    with pytest.raises(FileNotFoundError, match="no such recording"):
        read_recording(tmp_path / "a.bin")
