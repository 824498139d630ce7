"""Fronts, by hand and against trying every pair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.explore.pareto import costs, front


def test_by_hand():
    #         front   beaten by 0  front   equal to 2  beaten by 2  front
    points = [(1, 5), (2, 5), (2, 3), (2, 3), (4, 3), (9, 0)]
    assert front(points) == [0, 2, 5]
    assert front([]) == []
    assert front([(1, 1)]) == [0]


def test_more_accuracy_is_better_and_more_of_all_else_is_worse():
    assert costs([0.9, 100], ("accuracy", "memory")) == (-0.9, 100)
    assert costs([3, 0.9], ("latency", "accuracy")) == (3, -0.9)
    with pytest.raises(ValueError, match="zip"):
        costs([0.9], ("accuracy", "memory"))


def beats(one, other):
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@given(st.integers(1, 3).flatmap(lambda size: st.lists(st.tuples(*[st.integers(0, 4)] * size), max_size=14)))
def test_a_front_is_what_nobody_beats_each_point_once(points):
    found = front(points)
    assert found == sorted(found)
    kept = {points[at] for at in found}
    assert len(kept) == len(found)
    assert kept == {point for point in points if not any(beats(other, point) for other in points)}
    assert all(points.index(points[at]) == at for at in found)  # of equal points the first
