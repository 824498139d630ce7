"""Learning rates by hand, and random streams that only the position decides."""

import pytest
import torch

from bitspike.train.config import TrainConfig
from bitspike.train.schedule import epoch_order, learning_rate, position_generator, position_seed


def test_warm_up_rises_in_equal_steps_to_the_full_rate():
    config = TrainConfig(epochs=10, lr=0.8, warmup_epochs=2)
    rates = [learning_rate(config, step, 2) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


def test_cosine_by_hand():
    config = TrainConfig(epochs=4, lr=0.1)
    assert learning_rate(config, 0, 10) == pytest.approx(0.1)
    assert learning_rate(config, 10, 10) == pytest.approx(0.1 * (1 + 0.7071067811865476) / 2)
    assert learning_rate(config, 20, 10) == pytest.approx(0.05)
    assert learning_rate(config, 40, 10) == pytest.approx(0.0, abs=1e-15)


def test_cosine_starts_after_the_warm_up():
    config = TrainConfig(epochs=5, lr=1.0, warmup_epochs=1)
    assert learning_rate(config, 30, 10) == pytest.approx(0.5)


def test_constant_stays():
    config = TrainConfig(epochs=5, lr=0.3, schedule="constant")
    assert {learning_rate(config, step, 7) for step in range(35)} == {0.3}


def test_epoch_order_is_a_permutation_that_seed_and_epoch_decide():
    order = epoch_order(5, 2, 50)
    assert sorted(order.tolist()) == list(range(50))
    torch.manual_seed(99)
    assert torch.equal(order, epoch_order(5, 2, 50))
    assert not torch.equal(order, epoch_order(5, 3, 50))
    assert not torch.equal(order, epoch_order(6, 2, 50))


def test_position_seeds_do_not_collide_where_digits_could_be_joined():
    seeds = {position_seed(1, 2, 34), position_seed(1, 23, 4), position_seed(12, 3, 4), position_seed(12, 34)}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_position_generator_is_independent_of_the_global_one():
    torch.manual_seed(0)
    first = torch.rand(3, generator=position_generator(torch.device("cpu"), 1, "augment", 0, 7))
    torch.manual_seed(1)
    again = torch.rand(3, generator=position_generator(torch.device("cpu"), 1, "augment", 0, 7))
    assert torch.equal(first, again)
