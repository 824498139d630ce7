"""Candidates that train: stopped where an earlier one is far better, the same ones each time; killed, they go on."""

from __future__ import annotations

import random

import pytest
from kills import ended, exploring

from bitspike.explore import Exploration, evaluate, explore
from bitspike.train import Recipe
from studies import forked, run, small, table

RECIPE = Recipe.from_dict(
    {
        "model": {"name": "network"},
        "data": {"name": "bars", "time_steps": 2, "validation": 0},
        "train": {"epochs": 4, "batch": 16, "lr": 0.01},
    }
)
# A threshold that is never reached: no spikes, nothing to learn from, as much memory.
SPACE = {"scheme": ["itq"], "membrane.threshold": [1.0, 100.0], "weight.bits": [2, 4], "base": "4w4u"}
STUDY = {"space": SPACE, "train": RECIPE, "early_stop": True, "generation": 2}


@pytest.fixture(scope="module")
def stopped() -> Exploration:
    return explore(**small(**STUDY))


def test_the_hopeless_are_stopped_and_the_others_go_on(stopped):
    assert [row.state for row in stopped.rows] == ["complete", "complete", "pruned", "pruned"]
    for good, bad in zip(stopped.rows[:2], stopped.rows[2:], strict=True):
        assert len(good.numbers["history"]) == 4
        assert good.numbers["history"][-1] == good.accuracy
        last = len(bad.numbers["history"]) - 1
        assert last < 3
        assert bad.numbers["history"][last] < good.numbers["history"][last] - evaluate.MARGIN
        assert bad.memory >= good.memory  # the threshold itself takes more bits
    assert stopped.stopped == stopped.rows[2:]
    assert {row.number for row in stopped.front} <= {0, 1}


def test_without_early_stops_all_train_to_the_end(stopped):
    rows = run(**STUDY | {"early_stop": False})
    assert [row["state"] for row in rows] == ["complete"] * 4
    assert [row["accuracy"] for row in rows[:2]] == [row.accuracy for row in stopped.rows[:2]]


def test_only_earlier_generations_are_rivals():
    rows = run(**STUDY | {"generation": 4})
    assert [row["state"] for row in rows] == ["complete"] * 4


@pytest.mark.slow
def test_the_same_ones_are_stopped_with_more_workers(stopped):
    assert run(**STUDY, workers=2) == table(stopped)


@pytest.mark.slow
@pytest.mark.parametrize("early_stop", [True, False])
def test_the_same_ones_are_stopped_after_kills(early_stop, stopped, tmp_path):
    given = STUDY | {"early_stop": early_stop}
    draw = random.Random(0)
    for _ in range(5):
        process = forked(exploring, tmp_path / "study", None, given)
        with ended(process):
            process.join(draw.uniform(0.3, 1.2))
    assert run(**given, out=tmp_path / "study") == (table(stopped) if early_stop else run(**given))


def test_a_sampler_takes_those_that_were_stopped_for_bad_ones():
    given = STUDY | {"sampler": "nsga2", "trials": 4, "generation": 2}
    rows = run(**given)
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len(rows) == 4
    assert rows == run(**given)
