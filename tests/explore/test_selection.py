"""Which candidate is taken: both rewards and the bound, by hand."""

from dataclasses import dataclass

import pytest

from bitspike.explore.selection import Baseline, by_reward, reward, smallest_within


@dataclass
class Found:
    number: int
    accuracy: float
    memory: int


FLOAT = Baseline(0.90, 1000)
ROWS = [Found(0, 0.89, 200), Found(1, 0.80, 50), Found(2, 0.90, 500), Found(3, 0.89, 190)]


def test_additive_accuracy_minus_mu_times_the_share():
    assert reward(ROWS[0], FLOAT, "additive", 0.1) == pytest.approx(0.89 - 0.1 * 0.2)
    assert by_reward(ROWS, FLOAT, "additive", 0.0).number == 2
    assert by_reward(ROWS, FLOAT, "additive", 0.1).number == 3  # 0.871; number 2 has 0.850, number 1 0.795
    assert by_reward(ROWS, FLOAT, "additive", 1.0).number == 1  # 0.750; number 3 has 0.700


def test_product_what_is_saved_times_what_is_kept():
    assert reward(ROWS[0], FLOAT, "product") == pytest.approx(0.8 * 0.99)
    assert reward(ROWS[2], FLOAT, "product") == pytest.approx(0.5)
    assert by_reward(ROWS, FLOAT, "product").number == 1  # 0.95 * 0.90 = 0.855; number 3 has 0.81 * 0.99 = 0.802


def test_the_smallest_within_a_bound():
    assert smallest_within(ROWS, FLOAT, 0.011).number == 3
    assert smallest_within(ROWS, FLOAT, 0.0).number == 2
    assert smallest_within(ROWS, FLOAT, 0.2).number == 1


def test_the_margin_is_one_standard_error_unless_told():
    seen = Baseline(0.90, 1000, samples=900)
    assert seen.standard_error == pytest.approx(0.01, rel=0.01)  # sqrt(0.9 * 0.1 / 900), two right and two wrong more
    assert Baseline(1.0, 1000, 144).standard_error == pytest.approx((146 / 148 * 2 / 148 / 148) ** 0.5)
    assert Baseline(0.9, 1000).standard_error == 0
    assert smallest_within(ROWS, seen, 0.015).number == 2  # 0.885 + 0.01 is more than 0.89
    assert smallest_within(ROWS, seen, 0.021).number == 3
    assert smallest_within(ROWS, seen, 0.015, margin=0.0).number == 3
    assert smallest_within(ROWS, FLOAT, 0.015).number == 3  # of how many samples is not known
    with pytest.raises(ValueError, match=r"the margin is -0\.1"):
        smallest_within(ROWS, seen, 0.01, margin=-0.1)


def test_ties_go_to_the_higher_accuracy_then_the_lower_number():
    rows = [Found(5, 0.9, 100), Found(4, 0.9, 100), Found(6, 0.89, 100)]
    assert smallest_within(rows, FLOAT, 0.02).number == 4
    assert by_reward(rows, FLOAT).number == 4


def test_a_bound_that_nobody_meets_names_the_nearest():
    with pytest.raises(ValueError, match=r"no candidate reaches 99\.00 % .* nearest is number 2 with 90\.00 % and 500"):
        smallest_within(ROWS, Baseline(1.0, 1000), 0.01)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: reward(ROWS[0], FLOAT, "sum"), "reward is 'sum'; allowed: additive, product"),
        (lambda: reward(ROWS[0], FLOAT, "additive", -0.1), "mu is -0.1; allowed: 0 and above"),
        (lambda: reward(ROWS[0], FLOAT, "additive", float("nan")), "mu is nan"),
        (lambda: by_reward([], FLOAT), "no candidate is finished yet"),
        (lambda: smallest_within([], FLOAT, 0.1), "no candidate is finished yet"),
        (lambda: smallest_within(ROWS, FLOAT, 1.0), "the loss is 1.0"),
        (lambda: smallest_within(ROWS, FLOAT, -0.01), "the loss is -0.01"),
    ],
)
def test_refusals(call, said):
    with pytest.raises(ValueError, match=said):
        call()
