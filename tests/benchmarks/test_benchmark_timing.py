import pytest

from _shared import serving
from _shared.timing import Series, interleave, round_ratios


def test_every_round_asks_everybody_once_and_begins_with_another():
    asked = []

    def participant(name):
        def time():
            asked.append(name)
            return {"ms": [1.0], "calls": 1}

        return time

    ended = []
    interleave({name: participant(name) for name in "abc"}, 4, ended.append)
    assert "".join(asked) == "abc" + "bca" + "cab" + "abc"
    assert ended == [0, 1, 2, 3]


def test_rounds_are_medians_and_so_is_their_sum():
    answers = iter([[1.0, 9.0, 2.0], [8.0], [3.0, 5.0]])
    series = interleave({"a": lambda: {"ms": next(answers), "calls": 7}}, 3)["a"]
    assert series.rounds == [2.0, 8.0, 4.0]
    assert series.median == 4.0
    assert series.calls == 21


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match="rounds is 0; give 1 or more"):
        interleave({}, 0)


def test_ratios_go_round_by_round():
    assert round_ratios([1.0, 2.0], [10.0, 10.0]) == [10.0, 5.0]
    with pytest.raises(ValueError):
        round_ratios([1.0], [1.0, 2.0])


def test_series_begin_empty():
    assert Series().rounds == []


class Clock:
    """A clock that only calls move on."""

    def __init__(self, monkeypatch, *costs):
        self.now, self.costs, self.called = 0, costs, []
        monkeypatch.setitem(serving.CLOCKS, "cpu", lambda: self.now)

    def call(self, i):
        self.called.append(i)
        self.now += self.costs[i]


def test_long_calls_are_timed_one_by_one_and_in_turn(monkeypatch):
    clock = Clock(monkeypatch, 10_000_000, 30_000_000)
    told = serving.timed(clock.call, 2, seconds=0.1)
    assert told == {"ms": [10.0, 30.0, 10.0, 30.0, 10.0, 30.0], "calls": 6}
    assert clock.called == [0, 0, 1, 0, 1, 0, 1]  # the very first one only finds out how long a call takes


def test_short_calls_are_timed_in_blocks(monkeypatch):
    clock = Clock(monkeypatch, 100_000, 300_000)
    told = serving.timed(clock.call, 2, seconds=0.01)
    assert told["calls"] == 20 * len(told["ms"])  # 2 ms a block
    assert told["ms"] == [0.2] * 3  # the mean of both inputs


def test_even_a_call_longer_than_the_time_is_timed(monkeypatch):
    clock = Clock(monkeypatch, 5_000_000_000)
    assert serving.timed(clock.call, 1, seconds=0.1) == {"ms": [5000.0], "calls": 1}


def test_memory_is_told_in_bytes():
    sizes = serving.memory()
    assert sizes["highest"] > 10 << 20
    assert sizes["resident"] is None or sizes["resident"] <= sizes["highest"]
