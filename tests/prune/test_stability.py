import json

import numpy as np
import pytest
import torch

from bitspike.data import Dataset
from bitspike.prune import ChannelScores, LayerStability, Stability, stability
from bitspike.prune.stability import agreement
from networks import ImageNet, images


def data(samples=24):
    return Dataset("made", "train", images(samples).numpy(), np.arange(samples) % 4, 4, mean=(0.4, 0.6), std=0.25)


def scores(primary, tie=None):
    as_tensor = [None if values is None else torch.tensor(values, dtype=torch.float64) for values in (primary, tie)]
    return ChannelScores(*as_tensor)


def test_cosine_and_overlap_by_hand():
    # cos([3, 4, 0, 0], [4, 3, 0, 0]) = 24/25; lower halves {2, 3} and {2, 3} whatever their order.
    found = agreement([scores([3, 4, 0, 0]), scores([4, 3, 0, 0])])
    assert found == LayerStability(pytest.approx(24 / 25), 1, 1)
    # Lower halves {0, 1} and {1, 2}: one of three.
    found = agreement([scores([1, 2, 3, 4]), scores([3, 1, 2, 4])])
    assert (found.overlap, found.primary_overlap) == pytest.approx((1 / 3, 1 / 3))


def test_three_batches_are_three_pairs():
    batches = [scores([1, 2, 3, 4]), scores([1, 2, 3, 4]), scores([4, 3, 2, 1])]
    found = agreement(batches)
    assert found.overlap == pytest.approx((1 + 0 + 0) / 3)
    assert found.cosine == pytest.approx((1 + 2 * 20 / 30) / 3)


def test_scores_that_are_all_equal_have_a_cosine_of_one_and_no_overlap_beyond_chance():
    found = agreement([scores([2.0] * 200) for _ in range(6)])
    assert found.cosine == pytest.approx(1)
    assert found.overlap == pytest.approx(1 / 3, abs=0.05)


def test_the_tie_decides_where_there_is_one():
    found = agreement([scores([2.0] * 200, list(range(200))) for _ in range(6)])
    assert found.overlap == 1
    assert found.primary_overlap == pytest.approx(1 / 3, abs=0.05)


def test_silent_layers():
    assert agreement([scores([0, 0]), scores([0, 0])]).cosine == 1
    assert agreement([scores([0, 0]), scores([0, 1])]).cosine == 0
    assert agreement([scores([3]), scores([5])]) == LayerStability(pytest.approx(1), 1, 1)


def test_the_whole_is_its_worst_layer():
    whole = Stability("svs", {"a": LayerStability(0.9, 0.5, 0.4), "b": LayerStability(0.8, 0.6, 0.3)})
    assert (whole.cosine, whole.overlap, whole.primary_overlap) == (0.8, 0.5, 0.3)
    plain = json.loads(json.dumps(whole.to_dict()))
    assert plain["cosine"] == 0.8
    assert plain["layers"]["a"] == {"cosine": 0.9, "overlap": 0.5, "primary_overlap": 0.4}


@pytest.mark.parametrize("criterion", ["svs", "sca"])
def test_of_a_network(criterion):
    found = stability(ImageNet(), data(), criterion=criterion, batches=3, batch=8)
    assert list(found.layers) == ["first", "second"]
    assert found.criterion == criterion
    assert all(0.8 < layer.cosine <= 1 and 0 <= layer.overlap <= 1 for layer in found.layers.values())
    assert found.cosine < 1
    assert found == stability(ImageNet(), data(), criterion=criterion, batches=3, batch=8)
    # The same samples in every batch: nothing is left to disagree.
    one = data(1)
    repeated = Dataset("made", "train", np.repeat(one.inputs, 24, 0), np.zeros(24, np.int64), 4, mean=one.mean)
    same = stability(ImageNet(), repeated, criterion=criterion, batches=3, batch=8)
    assert same.cosine == pytest.approx(1)


def test_what_has_no_stability_is_refused():
    with pytest.raises(ValueError, match="'magnitude' looks at no samples"):
        stability(ImageNet(), data(), criterion="magnitude")
    with pytest.raises(ValueError, match="it must be 2 or more"):
        stability(ImageNet(), data(), batches=1, batch=4)
    with pytest.raises(ValueError, match="stability: batches is -1"):
        stability(ImageNet(), data(), batches=-1, batch=4)
    with pytest.raises(ValueError, match="need 640"):
        stability(ImageNet(), data())
