"""Criteria on maps that are fed to them: known matrices, known sums."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bitspike import quantize_
from bitspike.block import ConvSkip, PlainSkip, SpikingConv2d, SpikingLinear, real_form
from bitspike.prune import (
    Criterion,
    LayerRun,
    criteria,
    list_criteria,
    potentials,
    register_criterion,
    singular_value_scores,
)
from bitspike.prune.criteria import find_criterion
from bitspike.spec import WeightSpec
from networks import settle_


def one_map(*steps):
    """Spikes [T, 1, 1, H, W] of one channel."""
    return torch.tensor(steps, dtype=torch.float32)[:, None, None]


def columns(spikes, **options):
    rank, total = singular_value_scores(spikes, **options)[0, 0].tolist()
    return rank, total


def test_rank_and_sum_of_known_maps():
    assert columns(one_map([[0, 0], [0, 0]])) == (0, 0)
    assert columns(one_map([[1, 1], [1, 1]])) == pytest.approx((1, 2))
    assert columns(one_map([[1, 0], [0, 1]])) == pytest.approx((2, 2))
    # One row [1, 1, 0]: its length is the only singular value.
    assert columns(one_map([[1, 1, 0], [0, 0, 0]])) == pytest.approx((1, 2**0.5))


def test_the_time_average_can_have_a_higher_rank_than_every_step():
    first, second = [[1, 0], [0, 0]], [[0, 0], [0, 1]]
    assert columns(one_map(first))[0] == columns(one_map(second))[0] == 1
    assert columns(one_map(first, second)) == pytest.approx((2, 1))  # 1/2 on the diagonal, twice


def test_and_a_lower_one():
    # Each step has rank 2; together every place fired as often: rank 1.
    assert columns(one_map([[1, 0], [0, 1]], [[0, 1], [1, 0]])) == pytest.approx((1, 1))


def test_epsilon_is_absolute_and_of_the_average():
    spikes = one_map([[1, 0], [0, 1]], [[1, 0], [0, 0]])  # singular values 1 and 1/2
    assert [columns(spikes, epsilon=e)[0] for e in (0.4, 0.6, 1.1)] == [2, 1, 0]


def test_a_neuron_of_a_linear_layer_is_a_map_of_one_pixel():
    spikes = torch.zeros(4, 1, 3)
    spikes[0, 0, 1] = spikes[:, 0, 2] = 1
    assert singular_value_scores(spikes)[0].tolist() == [[0, 0], [1, 0.25], [1, 1]]


def test_every_map_is_scored_by_itself_however_many_at_once(monkeypatch):
    spikes = (torch.rand(3, 5, 4, 6, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    whole = singular_value_scores(spikes)
    monkeypatch.setattr(criteria, "_CHUNK", 61)  # two maps of 30
    assert torch.equal(singular_value_scores(spikes), whole)
    alone = singular_value_scores(spikes[:, 2:3, 1:2])
    assert torch.allclose(alone[0, 0], whole[2, 1])
    assert whole[..., 0].max() == 5


def test_what_should_be_zero_is_far_below_epsilon():
    """Single precision would fail: there zeros of such maps come out near 1e-6."""
    spikes = (torch.rand(10, 8, 1, 48, 48, generator=torch.Generator().manual_seed(0)) < 0.15).float()
    spikes[..., 24:, :] = spikes[..., :24, :]
    assert singular_value_scores(spikes, epsilon=1e-12)[..., 0].unique().tolist() == [24]


def exact_rank(matrix):
    """By elimination over the rationals."""
    rows = [[Fraction(value) for value in row] for row in matrix]
    rank = 0
    for column in range(len(rows[0])):
        pivot = next((row for row in range(rank, len(rows)) if rows[row][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for row in range(rank + 1, len(rows)):
            factor = rows[row][column] / rows[rank][column]
            rows[row] = [a - factor * b for a, b in zip(rows[row], rows[rank], strict=True)]
        rank += 1
    return rank


def test_the_exact_rank_is_right():
    assert exact_rank([[1, 2], [2, 4]]) == 1
    assert exact_rank([[0, 1], [1, 0]]) == 2
    assert exact_rank([[1, 2, 3], [4, 5, 6], [7, 8, 9]]) == 2
    assert exact_rank([[0, 0]]) == 0


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 10),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 12),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_the_score_is_the_exact_rank_of_the_counts(steps, height, width, copied, rate, seed):
    draw = torch.Generator().manual_seed(seed)
    spikes = (torch.rand(steps, 1, 1, height, width, generator=draw) < rate).float()
    for row in range(min(copied, height - 1)):  # rows that repeat others, for ranks below the full one
        spikes[..., row, :] = spikes[..., height - 1 - row // 2, :]
    counts = spikes.sum(0)[0, 0].int().tolist()
    assert singular_value_scores(spikes)[0, 0, 0] == exact_rank(counts)


def test_the_membrane_by_hand():
    layer = SpikingLinear(1, 2, norm=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.6], [-0.5]]))
    layer.eval()
    value = torch.ones(3, 1, 1)
    # 0.6; 0.3 + 0.6; 0.45 + 0.6 fires.   -0.5; -0.75; -0.875.   leak 1/2, threshold 1, float
    expected = torch.tensor([[0.6, 0.9, 1.05], [-0.5, -0.75, -0.875]])
    assert torch.allclose(torch.stack(list(potentials(layer, value)))[:, 0].T, expected)
    assert layer(value)[:, 0].T.tolist() == [[0, 0, 1], [0, 0, 0]]
    scores = find_criterion("sca").of_run(LayerRun(layer, (value,), layer(value)))
    assert torch.allclose(scores[0, :, 0], torch.tensor([0.85, 2.125 / 3], dtype=torch.float64))


SKIPS = [None, PlainSkip(), ConvSkip(3, norm="shared"), ConvSkip(3, norm="own")]


@pytest.mark.parametrize("skip", SKIPS, ids=["none", "plain", "shared", "own"])
@pytest.mark.parametrize("spec", ["1w2u", "4w4u", "8w8u"])
@pytest.mark.parametrize("reset", ["hard", "soft"])
def test_integer_potentials_are_those_that_the_real_form_decides_by(spec, skip, reset, monkeypatch):
    from bitspike.block import real

    layer = SpikingConv2d(3, 3, skip=skip, bias=skip is None)
    net = nn.Sequential(layer)
    settle_(net)
    quantize_(net, spec)
    layer.membrane_spec = type(layer.membrane_spec)(bits=layer.membrane_spec.bits, reset=reset)
    with torch.no_grad():
        layer.norm.weight[0].neg_()
    net.eval()
    value = (torch.rand(4, 2, 3, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    operands = (value,) if skip is None else (value, value)
    excess, original = [], real.spike
    monkeypatch.setattr(real, "spike", lambda x, fired: (excess.append(x.detach()), original(x, fired))[1])
    with real_form(net):
        spikes = layer(*operands)
    found = list(potentials(layer, *operands))
    assert len(found) == 4
    for ours, theirs in zip(found, excess, strict=True):
        assert torch.allclose(ours, theirs + layer.membrane_spec.threshold, atol=1e-9)
    assert torch.equal(spikes, layer(*operands))
    assert 0 < spikes.mean() < 1


def test_float_potentials_decide_the_float_spikes():
    layer = SpikingConv2d(3, 4, skip=ConvSkip(3, norm="own"))
    settle_(nn.Sequential(layer))
    layer.eval()
    value = (torch.rand(4, 2, 3, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    fired = torch.stack([now >= 1 for now in potentials(layer, value, value)])
    assert torch.equal(fired.float(), layer(value, value))
    assert 0 < fired.float().mean() < 1


def test_magnitude_is_the_norm_of_the_quantized_kernel_and_its_skip():
    layer = SpikingConv2d(2, 2, 1, skip=ConvSkip(1, norm="own"))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, -2.0], [0.5, 0.25]])[..., None, None])
        layer.skip_weight.copy_(torch.tensor([[-3.0], [0.125]])[..., None, None])
    magnitude = find_criterion("magnitude").of_block
    assert magnitude(layer, "layer", 0).tolist() == [[6.0], [0.875]]
    layer.weight_spec = WeightSpec(bits=1)
    main, side = layer.quantized()
    expected = 2 * main.scale.double() + side.scale.double()  # codes of +1 and -1
    assert torch.allclose(magnitude(layer, "layer", 0)[:, 0], expected)


def test_criteria_have_names_and_others_can_join(monkeypatch):
    assert {"svs", "sca", "magnitude", "random"} <= set(list_criteria())
    with pytest.raises(ValueError, match=r"no criterion 'svd' \(did you mean 'svs'.*there are magnitude, random"):
        find_criterion("svd")
    with pytest.raises(TypeError, match="exactly one"):
        Criterion()
    monkeypatch.setattr(criteria, "_CRITERIA", dict(criteria._CRITERIA))
    mine = Criterion(of_block=lambda block, name, seed: torch.arange(block.out_channels).unsqueeze(-1))
    register_criterion("mine", mine)
    assert find_criterion("mine") is mine
