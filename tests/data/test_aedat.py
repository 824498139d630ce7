import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.data import read_recording
from bitspike.data.aedat import decode_aedat, decode_aedat2

HEADER2 = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# created some day\r\n"
HEADER3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"


def events2(*events) -> bytes:
    """Return pairs of address and time from (bits 1-7, bits 8-14, time, bit 0)."""
    return b"".join(struct.pack(">Ii", high << 8 | low << 1 | bit, t) for low, high, t, bit in events)


def packet3(*events, kind=1, overflow=0, spare=0, valid=1) -> bytes:
    """Return a packet of polarity events from (x, y, time, polarity), with room for `spare` more."""
    body = b"".join(struct.pack("<Ii", x << 17 | y << 2 | p << 1 | valid, t) for x, y, t, p in events)
    header = struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, len(events) + spare, len(events), len(events))
    return header + body + bytes(8 * spare)


def test_version_2_by_hand():
    events = decode_aedat(HEADER2 + events2((3, 100, 7, 1), (0, 127, 2**31 - 1, 0)))
    assert events.tolist() == [(27, 124, 7, 0), (0, 127, 2**31 - 1, 1)]


@given(
    st.lists(
        st.tuples(st.integers(0, 127), st.integers(0, 127), st.integers(-(2**31), 2**31 - 1), st.integers(0, 1)),
        max_size=20,
    )
)
def test_version_2_round_trip_as_it_stands_in_the_file(events):
    decoded = decode_aedat2(events2(*events), "x", upright=False)
    assert [tuple(int(value) for value in event) for event in decoded] == events


def test_version_2_leaves_out_what_is_no_pixel():
    special = struct.pack(">Ii", 1 << 15 | 5 << 1, 3) + struct.pack(">Ii", 1 << 31, 4)
    assert len(decode_aedat2(special + events2((1, 2, 3, 1)), "x")) == 1


def test_version_2_first_event_may_follow_any_header_line():
    assert len(decode_aedat(b"#!AER-DAT2.0\r\n" + events2((1, 2, 3, 1)))) == 1
    assert len(decode_aedat(HEADER2)) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 2**15 - 1), st.integers(0, 2**15 - 1), st.integers(0, 2**31 - 1), st.integers(0, 1)),
        max_size=20,
    ),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_version_3_round_trip(events, overflow, spare):
    decoded = decode_aedat(HEADER3 + packet3(*events, overflow=overflow, spare=spare) + packet3(kind=3))
    expected = [(x, y, t + (overflow << 31), p) for x, y, t, p in events]
    assert [tuple(int(value) for value in event) for event in decoded] == expected


def test_version_3_skips_other_packets_and_invalid_events():
    data = (
        packet3((1, 2, 3, 1)) + packet3((9, 9, 9, 0), kind=2) + packet3((5, 5, 5, 1), valid=0) + packet3((4, 5, 6, 0))
    )
    assert decode_aedat(HEADER3 + data).tolist() == [(1, 2, 3, 1), (4, 5, 6, 0)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x00\x01 no header", "does not begin with '#!AER-DAT'"),
        (b"", "does not begin with"),
        (b"#!AER-DAT4.0\r\n", "version '4.0' is not supported; allowed are 2.0 and 3.1"),
        (b"#!AER-DAT2.0", "cut short within its header"),
        (HEADER2 + events2((1, 2, 3, 1))[:-2], "6 bytes of events, not a multiple of 8"),
        (b"#!AER-DAT3.1\r\n#Format: RAW\r\n" + packet3((1, 2, 3, 1)), "'#!END-HEADER' is missing"),
        (HEADER3.replace(b"RAW", b"Compressed"), "'#Format: Compressed' is not supported; allowed is RAW"),
        (HEADER3 + packet3((1, 2, 3, 1))[:20], "cut short within a packet header"),
        (HEADER3 + packet3((1, 2, 3, 1))[:-1], "cut short: a packet of 8 bytes"),
        (HEADER3 + struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 2, 1), "damaged packet header"),
        (HEADER3 + struct.pack("<hhiiiiii", 1, 1, -8, 4, 0, 1, 1, 1), "damaged packet header"),
        (HEADER3 + struct.pack("<hhiiiiii", 1, 1, 16, 8, 0, 1, 1, 1) + bytes(16), "polarity events of 16 bytes"),
    ],
)
def test_damage_is_named(tmp_path, data, message):
    path = tmp_path / "user01.aedat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"user01\.aedat: .*{message}"):
        read_recording(path)


@given(st.binary(max_size=80))
def test_noise_after_the_header_is_events_or_a_value_error(noise):
    for header in (HEADER2, HEADER3):
        try:
            events = decode_aedat(header + noise)
        except ValueError as error:
            assert "AEDAT recording" in str(error)
        else:
            assert isinstance(events, np.ndarray)
