import json

import pytest

from _shared.rows import as_table, significant, timing_row, value_row
from _shared.timing import Series

REQUIRED = {"case", "peer", "ours", "peer_value", "unit", "ratio", "runs", "headline"}


def test_a_row_says_how_often_we_are_ahead():
    row = value_row("net", "peer", 2.0, 50.0, "ms", runs=3, headline=True, rate=0.1)
    assert set(row) == REQUIRED | {"rate"}
    assert row["ratio"] == 25.0
    assert value_row("net", "peer", 50.0, 2.0, "ms", runs=3, headline=True)["ratio"] == 0.04


def test_a_timing_row_is_the_ratio_of_medians_with_the_spread_of_rounds():
    ours, theirs = Series([1.0, 2.0, 4.0], 30), Series([30.0, 20.0, 100.0], 6)
    row = timing_row("net", "peer", ours, theirs, headline=False, T=2)
    assert (row["ours"], row["peer_value"], row["ratio"]) == (2.0, 30.0, 15.0)
    assert (row["ratio_lowest"], row["ratio_highest"]) == (10.0, 30.0)
    assert (row["runs"], row["calls"], row["peer_calls"], row["T"]) == (3, 30, 6, 2)
    json.dumps(row)


@pytest.mark.parametrize("values", [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_numbers_that_cannot_be_times_are_refused(values):
    with pytest.raises(ValueError, match="both must be positive"):
        value_row("net", "peer", *values, "ms", runs=1, headline=False)


def test_the_ratio_is_taken_before_rounding():
    row = value_row("net", "peer", 1.000004, 3.000004, "ms", runs=1, headline=False)
    assert row["ours"] == 1.0
    assert row["ratio"] == 3.0
    assert value_row("net", "peer", 0.0123456, 1.0, "ms", runs=1, headline=False)["ratio"] == 81.001


def test_whole_numbers_keep_their_digits():
    assert significant(1_615_701) == 1_615_701
    assert significant(1_615_701.4) == 1_615_700.0
    assert significant(0.000123456) == 0.00012346


def test_the_table_marks_what_the_goals_name():
    rows = [
        value_row("first", "peer", 1.0, 2.0, "ms", runs=1, headline=True),
        value_row("second", "other peer", 1.0, 20.0, "ms", runs=1, headline=False),
    ]
    head, first, second = as_table(rows).splitlines()
    assert head.split() == ["case", "peer", "ours", "peer's", "ratio", "rounds"]
    assert first.split() == ["first", "*", "peer", "1.0", "ms", "2.0", "ms", "2"]
    assert second.split() == ["second", "other", "peer", "1.0", "ms", "20.0", "ms", "20"]
    assert head.index("peer") == first.index("peer")
