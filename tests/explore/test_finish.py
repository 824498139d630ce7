"""The candidate that was chosen: made again, tested, certified."""

from dataclasses import replace

import pytest
from settings import setting, stripes

from bitspike.explore import Row
from bitspike.explore.evaluate import evaluate_candidate
from bitspike.explore.finish import certified, make_winner
from bitspike.runtime.evaluation import evaluate_integers

CHOICES = {"weight.bits": 2}


@pytest.fixture(scope="module")
def shared():
    return setting({"base": "4w3u", "weight.bits": [2, 4]})


@pytest.fixture(scope="module")
def row(shared):
    return Row(0, "complete", CHOICES, evaluate_candidate(shared, 0, CHOICES))


@pytest.fixture(scope="module")
def test_split():
    return stripes(45, seed=2, split="test")


def test_the_winner_is_the_candidate_and_is_tested_once(shared, row, test_split):
    found = make_winner(shared, row, test_split)
    assert found.reproduced
    assert found.test == (evaluate_integers(found.made.integers, test_split).accuracy,)
    assert (found.samples, found.mean, found.deviation) == (45, found.test[0], None)
    told = found.results()
    assert (told["validation_accuracy"], told["memory"], told["test_samples"]) == (row.accuracy, row.memory, 45)


def test_further_seeds_are_other_networks_of_the_same_choices(shared, row, test_split):
    found = make_winner(shared, row, test_split, seeds=3)
    assert len(found.test) == 3
    assert found.test[0] == make_winner(shared, row, test_split).test[0]
    assert found.mean == pytest.approx(sum(found.test) / 3)
    assert found.deviation is not None
    second = make_winner(replace(shared, seed=1), row, test_split)
    assert found.test[1] == second.test[0]
    with pytest.raises(ValueError, match="seeds is 0"):
        make_winner(shared, row, test_split, seeds=0)


@pytest.mark.parametrize("name", ["accuracy", "memory"])
def test_another_table_is_not_reproduced(shared, row, test_split, name):
    other = replace(row, numbers={**row.numbers, name: row.numbers[name] * 2})
    assert not make_winner(shared, other, test_split).reproduced


def test_its_certificate(shared, row, test_split):
    found = certified(shared, make_winner(shared, row, test_split), test_split, samples=5)
    certificate = found.made.integers.about.certificate
    assert certificate is not None
    assert certificate["samples"] == 5
