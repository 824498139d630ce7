import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.data import Binning, bin_events, make_events, rebin_frames


def events_of(*rows):
    return make_events(*np.array(rows, dtype=np.int64).reshape(-1, 4).T)


def nonzero(frames):
    return {tuple(int(i) for i in index): int(frames[tuple(index)]) for index in np.argwhere(frames)}


# x, y, t, p; times from 100 to 109: a span of 10 microseconds.
FIVE = events_of((0, 0, 100, 1), (0, 0, 104, 1), (1, 0, 105, 0), (0, 2, 108, 0), (1, 1, 109, 1))


def test_equal_time_by_hand():
    # Two bins of 5 microseconds: 100..104 and 105..109. Index: bin, polarity, row, column.
    result = bin_events(FIVE, (3, 2), Binning(2))
    assert result.frames.shape == (2, 2, 3, 2)
    assert result.frames.dtype == np.uint8
    assert nonzero(result.frames) == {(0, 1, 0, 0): 2, (1, 0, 0, 1): 1, (1, 0, 2, 0): 1, (1, 1, 1, 1): 1}
    assert (result.counted, result.clipped, result.outside) == (5, 0, 0)


def test_equal_time_with_uneven_bins():
    # Three bins of 10/3: offsets 0 and 4, 5 and 8, 9 go to bins floor(3 * offset / 10) = 0, 1, 1, 2, 2.
    frames = bin_events(FIVE, (3, 2), Binning(3)).frames
    assert frames.sum(axis=(1, 2, 3)).tolist() == [1, 2, 2]


def test_equal_number_by_hand():
    # Five events into two bins: positions 0..4 go to floor(2 * i / 5) = 0, 0, 0, 1, 1.
    frames = bin_events(FIVE, (3, 2), Binning(2, by="count")).frames
    assert nonzero(frames) == {(0, 1, 0, 0): 2, (0, 0, 0, 1): 1, (1, 0, 2, 0): 1, (1, 1, 1, 1): 1}


def test_equal_number_sorts_by_time_and_keeps_the_order_of_equal_times():
    shuffled = events_of((3, 0, 9, 1), (0, 0, 1, 1), (1, 0, 5, 1), (2, 0, 5, 1))
    frames = bin_events(shuffled, (1, 4), Binning(4, by="count")).frames
    assert [int(np.flatnonzero(frame[1, 0])[0]) for frame in frames] == [0, 1, 2, 3]


def test_window_cuts_and_sets_the_bins():
    # The window 104..112 holds four events; two bins of 4: 104, 105 and 108, 109.
    result = bin_events(FIVE, (3, 2), Binning(2), window=(104, 112))
    assert result.frames.sum(axis=(1, 2, 3)).tolist() == [2, 2]
    assert (result.counted, result.outside) == (4, 1)
    assert bin_events(FIVE, (3, 2), Binning(2), window=(100, 109)).outside == 1


def test_clipping_is_reported():
    many = events_of(*[(0, 0, 0, 1)] * 20, *[(1, 0, 0, 0)] * 3)
    result = bin_events(many, (1, 2), Binning(1, bound=4))
    assert nonzero(result.frames) == {(0, 1, 0, 0): 4, (0, 0, 0, 1): 3}
    assert (result.counted, result.clipped) == (7, 16)


def test_down_sampling_sums():
    # 5 columns into 2: columns 0, 1, 2 go to 0 and 3, 4 to 1 (floor(2 x / 5)); 2 rows into 1.
    row = events_of(*[(x, x % 2, 0, 1) for x in range(5)])
    result = bin_events(row, (2, 5), Binning(1, size=(1, 2)))
    assert result.frames[0, 1].tolist() == [[3, 2]]


def test_no_events_are_empty_frames():
    none = events_of()
    for by in ("time", "count"):
        assert bin_events(none, (3, 2), Binning(2, by=by)).frames.sum() == 0


def test_one_event_lies_in_the_first_frame():
    assert nonzero(bin_events(events_of((1, 2, 77, 0)), (3, 2), Binning(4)).frames) == {(0, 0, 2, 1): 1}


some_events = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(-(10**6), 10**6), st.integers(0, 1)), max_size=60
)


@given(some_events, st.integers(1, 12), st.sampled_from(["time", "count"]), st.integers(1, 5), st.integers(1, 7))
def test_counts_are_conserved(rows, steps, by, height, width):
    events = events_of(*rows)
    result = bin_events(events, (5, 7), Binning(steps, bound=255, size=(height, width), by=by))
    assert result.frames.shape == (steps, 2, height, width)
    assert int(result.frames.sum()) == len(rows) == result.counted
    assert result.frames.sum(axis=(0, 2, 3)).tolist() == [int((events["p"] == p).sum()) for p in (0, 1)]
    if by == "count" and rows:
        per_bin = result.frames.sum(axis=(1, 2, 3))
        assert per_bin.max() - per_bin.min() <= 1


@given(some_events, st.integers(1, 6), st.integers(1, 4))
def test_what_is_clipped_is_what_is_missing(rows, steps, bound):
    result = bin_events(events_of(*rows), (5, 7), Binning(steps, bound=bound))
    assert int(result.frames.sum()) + result.clipped == len(rows)
    assert result.frames.max(initial=0) <= bound


@given(some_events, st.integers(1, 6))
def test_binning_in_two_stages_equals_one(rows, steps):
    """Fine bins, four for each wanted one, summed by `rebin_frames`, give the wanted bins."""
    events = events_of(*rows)
    fine = bin_events(events, (5, 7), Binning(4 * steps, bound=255)).frames
    summed = rebin_frames(fine, Binning(steps, bound=255, size=(2, 3))).frames
    np.testing.assert_array_equal(summed, bin_events(events, (5, 7), Binning(steps, 255, (2, 3))).frames)


def test_rebinning_by_hand():
    # Five frames into two: frames 0, 1, 2 go to 0 and 3, 4 to 1 (floor(2 f / 5)).
    frames = np.arange(5)[:, None, None, None] * np.ones((1, 2, 1, 1), int)
    result = rebin_frames(frames, Binning(2, bound=5))
    assert result.frames[:, 0, 0, 0].tolist() == [3, 5]
    assert (result.counted, result.clipped) == (16, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_steps": 0}, "time_steps is 0"),
        ({"time_steps": 2.0}, "time_steps is 2.0"),
        ({"time_steps": True}, "time_steps is True"),
        ({"time_steps": 2, "bound": 256}, "bound is 256, but must be a whole number from 1 to 255"),
        ({"time_steps": 2, "by": "events"}, "by is 'events', but must be 'time' or 'count'"),
        ({"time_steps": 2, "size": (0, 4)}, r"size is \(0, 4\)"),
    ],
)
def test_bad_binnings(options, message):
    with pytest.raises(ValueError, match=message):
        Binning(**options)


def test_bad_events():
    with pytest.raises(ValueError, match="x=1, y=2 at most, outside the sensor of 2 x 2"):
        bin_events(FIVE, (2, 2), Binning(2))
    with pytest.raises(ValueError, match=r"size \(9, 2\) is larger than the sensor"):
        bin_events(FIVE, (3, 2), Binning(2, size=(9, 2)))
    with pytest.raises(TypeError, match="make them with make_events"):
        bin_events(np.zeros((3, 4)), (3, 2), Binning(2))
    with pytest.raises(ValueError, match=r"window \(5, 5\) is empty"):
        bin_events(FIVE, (3, 2), Binning(2), window=(5, 5))
    with pytest.raises(ValueError, match="which is no recording; check the time column"):
        bin_events(events_of((0, 0, 0, 0), (0, 0, 2**60, 0)), (3, 2), Binning(2))


def test_bad_frames():
    frames = np.zeros((4, 2, 3, 3), int)
    with pytest.raises(ValueError, match="4 frames cannot be summed into 5"):
        rebin_frames(frames, Binning(5))
    with pytest.raises(ValueError, match="by='count' needs single events"):
        rebin_frames(frames, Binning(2, by="count"))
    with pytest.raises(ValueError, match="negative counts"):
        rebin_frames(frames - 1, Binning(2))
    with pytest.raises(ValueError, match="must be integers"):
        rebin_frames(frames * 0.5, Binning(2))
