import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.data import dataset_from_arrays, split_validation
from bitspike.data.split import _shares, _shuffle_keys


def numbered(labels):
    """Return a data set whose every picture is its own number."""
    pictures = np.arange(len(labels), dtype=np.int64)
    inputs = np.stack([pictures // 256, pictures % 256], axis=1).astype(np.uint8)[:, :, None, None]
    return dataset_from_arrays(inputs, labels, classes=10)


def numbers(data):
    return (data.inputs[:, 0, 0, 0].astype(int) * 256 + data.inputs[:, 1, 0, 0]).tolist()


@given(st.lists(st.integers(0, 9), min_size=2, max_size=300), st.data())
def test_disjoint_complete_in_order_and_exact(labels, draw):
    count = draw.draw(st.integers(1, len(labels) - 1))
    data = numbered(labels)
    train, validation = split_validation(data, count=count, seed=draw.draw(st.integers(0, 2**70)))
    assert len(validation) == count
    assert sorted(numbers(train) + numbers(validation)) == list(range(len(labels)))
    assert numbers(train) == sorted(numbers(train))
    assert numbers(validation) == sorted(numbers(validation))
    sizes = np.bincount(data.labels, minlength=10)
    got = np.bincount(validation.labels, minlength=10)
    assert (abs(got - sizes * count / len(labels)) < 1).all()


def test_shares_by_hand():
    # 10, 5, 5 of 20 give 7: 3.5, 1.75, 1.75, so 3, 1, 1, and the two largest remainders take one more.
    assert _shares(np.array([10, 5, 5]), 7) == [3, 2, 2]
    assert _shares(np.array([2, 2, 2]), 2) == [1, 1, 0]
    assert _shares(np.array([0, 4]), 3) == [0, 3]


def test_keys_are_the_published_splitmix64_sequence():
    # First outputs of SplitMix64 from state 0; our start for seed 0 is mix(0) = 0.
    assert [int(key) for key in _shuffle_keys(2, 0)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_seed_decides_and_nothing_else():
    data = numbered([0, 1] * 50)
    first, again, other = (split_validation(data, 0.2, seed)[1] for seed in (1, 1, 2))
    assert numbers(first) == numbers(again)
    assert numbers(first) != numbers(other)
    assert len(first) == 20


def test_fraction_rounds_half_up():
    assert len(split_validation(numbered([0] * 10), 0.25)[1]) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either fraction or count"),
        ({"fraction": 0.1, "count": 1}, "either fraction or count"),
        ({"fraction": 1.0}, "must lie between 0 and 1"),
        ({"fraction": 0.01}, "0 samples out of 10 leaves one side empty"),
        ({"count": 0.25}, "count is 0.25, but must be a whole number of samples; for a share of them use fraction"),
        ({"count": True}, "count is True, but must be a whole number"),
        ({"count": 10}, "10 samples out of 10 leaves one side empty"),
    ],
)
def test_bad_requests(options, message):
    with pytest.raises(ValueError, match=message):
        split_validation(numbered([0, 1] * 5), **options)
