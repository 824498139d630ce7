"""Bit-width utilization, measured and as QP-SNN estimates it."""

import numpy as np
import pytest
import torch

from bitspike.quant import quantize_weight
from bitspike.quant.utilization import estimated_utilization, levels_used, utilization, utilization_from_range
from bitspike.spec import WeightSpec


@pytest.mark.parametrize(
    ("a", "levels", "printed"),
    [(0.14, 256, "14.3"), (0.32, 256, "32.3"), (0.2, 256, "20.3"), (0.70, 256, "70.1"), (0.44, 256, "44.2")],
)
def test_the_papers_numbers(a, levels, printed):
    assert f"{100 * utilization_from_range(a, levels):.1f}" == printed


def test_the_example_to_more_digits_and_the_ends():
    assert utilization_from_range(0.14, 256) == (0.14 * 255 + 1) / 256 == pytest.approx(0.14336, abs=1e-5)
    assert utilization_from_range(1.0, 4) == 1.0
    assert utilization_from_range(0.0, 4) == 0.25
    with pytest.raises(ValueError, match=r"a is 1\.5 and levels is 4; allowed: a from 0 to 1"):
        utilization_from_range(1.5, 4)


def test_codes_that_occur_are_counted():
    assert levels_used(np.array([[3, -1], [3, 3]], np.int8)) == 2
    assert levels_used(torch.tensor([-3.0, -1.0, 1.0, 3.0, 3.0])) == 4
    assert utilization(torch.tensor([-1.0, 1.0]), WeightSpec(bits=2, grid="odd")) == 0.5
    assert utilization(torch.tensor([-1.0, 0.0, 1.0]), WeightSpec(bits=2)) == 1.0
    assert utilization(torch.tensor([-1.0]), WeightSpec(bits=1)) == 0.5


def test_the_estimate_meets_the_count_where_weights_fill_their_range_evenly():
    """Weights spread evenly over 20 % of the vanilla quantizer's range: a = 0.198, by its percentile."""
    weight = torch.linspace(-0.2, 0.2, 40_001).reshape(1, -1)
    spec = WeightSpec(bits=8, grid="odd", scale="unit")
    codes, scale = quantize_weight(weight, spec)
    assert estimated_utilization(weight, scale, spec) == pytest.approx((0.196 * 255 + 1) / 256, abs=1e-4)
    assert utilization(codes, spec) == 52 / 256  # codes -51 to 51


def test_rescaling_by_the_mean_uses_every_level():
    """What ReScaW is for: beyond mean |w| lies so much that a is 1."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 0.03, (16, 2000)).astype(np.float32))
    for bits in (2, 4, 8):
        for scale, full in (("mean", True), ("unit", False)):
            spec = WeightSpec(bits=bits, grid="odd", scale=scale)
            codes, found = quantize_weight(weight, spec)
            assert (utilization(codes, spec) == 1.0) == full
            assert (estimated_utilization(weight, found, spec) == 1.0) == full


def test_weights_that_are_no_numbers_are_not_told_anything():
    spec = WeightSpec(bits=4, grid="odd")
    weight = torch.full((1, 4), float("nan"))
    codes, scale = quantize_weight(weight, spec)
    assert estimated_utilization(weight, scale, spec) == 0.0
    assert levels_used(codes) >= 1
