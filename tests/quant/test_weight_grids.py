from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitspike.quant import initial_gamma, normalize_weight, quantize_weight, register_grid
from bitspike.quant.weights import _GRIDS, SCALE_FLOOR, QuantizedWeight, seeded_noise
from bitspike.spec import WEIGHT_GRIDS, WeightSpec
from strategies import weight_specs

NOISE = [[16475474.0, 8957534.0, 16560448.0], [3548954.0, 3677738.0, 9028589.0]]


def quantized(values, **choices):
    codes, scale = quantize_weight(torch.tensor(values), WeightSpec(**choices))
    return codes.tolist(), scale.tolist()


def test_binary_mean_per_channel_and_layer():
    rows = [[0.5, -1.5], [0.0, 0.25]]
    assert quantized(rows, bits=1) == ([[1, -1], [1, 1]], [1.0, 0.125])
    assert quantized(rows, bits=1, per="layer") == ([[1, -1], [1, 1]], [0.5625, 0.5625])


def test_binary_power_of_two_rounds_the_exponent_half_up():
    rows = [[0.75, -0.75], [2.0, 2.0], [1.5, 1.5]]  # log2(0.75) = -0.415 -> 1; log2(1.5) = 0.585 -> 2
    assert quantized(rows, bits=1, scale="power_of_two")[1] == [1.0, 2.0, 2.0]


def test_two_bits_are_ternary_and_halves_round_up():
    rows = [[1.0, -1.0, 0.5, -0.5, 0.49, -0.51]]
    assert quantized(rows, bits=2) == ([[1, -1, 1, 0, 0, -1]], [1.0])


def test_eight_bits_stay_symmetric():
    codes, scale = quantized([[-1.27, 1.27, 0.005, -0.015]], bits=8)
    assert codes[0][:2] == [-127, 127]
    assert scale[0] == pytest.approx(0.01)


def test_fixed_point_by_hand():
    """Q2.2: steps of 1/4 up to 7/4, symmetric; the three roundings of 0.3 and -0.3 are 1, 1 and 1, -2."""
    row = [[0.3, -0.3, 0.125, -0.125, 1.75, -5.0]]
    choices = {"bits": 4, "scale": "power_of_two", "fraction": 2}
    assert quantized(row, **choices) == ([[1, -1, 1, 0, 7, -7]], [0.25])
    assert quantized(row, **choices, rounding="floor") == ([[1, -2, 0, -1, 7, -7]], [0.25])
    assert quantized([[0.3, 1.75]], bits=4, scale="power_of_two")[1] == [0.25]  # n / 4 is just enough
    assert quantized([[0.3, 1.76]], bits=4, scale="power_of_two")[1] == [0.5]


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_stochastic_rounding_is_the_neighbours_right_in_the_mean_and_its_own_every_time(seed):
    spec = WeightSpec(bits=4, scale="power_of_two", fraction=2, rounding="stochastic", seed=seed)
    weight = torch.full((50, 200), 0.3)  # 1.2 steps
    codes, _ = quantize_weight(weight, spec)
    assert set(codes.unique().tolist()) == {1.0, 2.0}
    assert float(codes.mean()) == pytest.approx(1.2, abs=0.02)  # five deviations of 10,000 draws
    assert torch.equal(quantize_weight(weight, spec).codes, codes)
    assert not torch.equal(quantize_weight(weight, spec, fresh=True).codes, codes)
    assert not torch.equal(quantize_weight(weight, replace(spec, seed=7)).codes, codes)


def test_the_noise_of_a_seed_stays_what_it_is():
    """A shipped network's weights can be made again from its float ones only as long as this holds."""
    assert (seeded_noise(torch.zeros(2, 3), 5) * 2**24).tolist() == NOISE


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("per", ["channel", "layer"])
def test_least_squares_is_never_worse_than_the_other_scales(bits, per):
    weight = torch.from_numpy(np.random.default_rng(bits).standard_t(3, (4, 60)).astype(np.float32))

    def error(scale):
        codes, found = quantize_weight(weight, WeightSpec(bits=bits, scale=scale, per=per))
        return float((codes * found.unsqueeze(1) - weight).double().square().sum())

    best = error("mse")
    assert all(best <= error(scale) * (1 + 1e-6) for scale in ("abs_max", "percentile", "power_of_two"))
    assert best < 0.95 * error("abs_max") or bits == 8


def test_ternary_least_squares_finds_the_known_optimum_of_gaussian_weights():
    """A threshold of 0.612 deviations, so codes of 2 * 0.612 = 1.224 deviations."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (1, 200_000)).astype(np.float32))
    assert float(quantize_weight(weight, WeightSpec(bits=2, scale="mse")).scale) == pytest.approx(1.224, abs=0.01)


def test_weights_beyond_the_outermost_codes_get_no_gradient():
    weight = torch.tensor([[0.3, 1.8, 3.0, -3.0]], requires_grad=True)
    quantize_weight(weight, WeightSpec(bits=4, scale="power_of_two", fraction=2)).codes.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[4.0, 4.0, 0.0, 0.0]]


def test_zeros_keep_a_positive_scale():
    assert quantized([[0.0, 0.0]], bits=4) == ([[0, 0]], [pytest.approx(SCALE_FLOOR)])
    assert quantized([[0.0, 0.0]], bits=1) == ([[1, 1]], [pytest.approx(SCALE_FLOOR)])


def test_float_passes_through():
    weight = torch.randn(3, 2, 3, 3)
    codes, scale = quantize_weight(weight, WeightSpec())
    assert codes is weight
    assert scale.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("how", ["channel", "layer"])
def test_normalization_is_standard(how):
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5 + 2
    got = normalize_weight(weight, how)
    axes = (1, 2, 3) if how == "channel" else (0, 1, 2, 3)
    deviation, mean = torch.std_mean(weight, axes, keepdim=True)  # unbiased
    assert torch.allclose(got, (weight - mean) / deviation, atol=1e-6)
    assert normalize_weight(weight, "none") is weight


def test_normalization_of_one_weight_and_of_equal_weights_is_zero():
    assert normalize_weight(torch.tensor([[3.0], [-2.0]]), "channel").tolist() == [[0.0], [0.0]]
    assert normalize_weight(torch.full((2, 4), 0.25), "layer").tolist() == [[0.0] * 4] * 2


@given(weight_specs(), st.integers(0, 2**31 - 1), st.sampled_from([1e-12, 1e-3, 1.0, 1e6]))
def test_codes_lie_on_their_grid_and_scales_are_positive(spec, seed, size):
    weight = torch.from_numpy(np.random.default_rng(seed).normal(0, size, (3, 2, 2, 2)).astype(np.float32))
    weight.requires_grad_()
    gamma = torch.nn.Parameter(initial_gamma(weight, spec)) if spec.is_learned else None
    codes, scale = quantize_weight(weight, spec, gamma=gamma)
    whole = codes.detach()
    assert torch.equal(whole, whole.round())
    levels = {"binary": 1, "twos_complement": 2 ** (spec.bits - 1) - 1, "odd": 2**spec.bits - 1}[spec.grid]
    assert float(whole.abs().max()) <= levels == spec.largest_code
    if spec.grid != "twos_complement":
        assert torch.equal(whole.abs() % 2, torch.ones_like(whole))
    if spec.bits == 1:
        assert torch.equal(whole.abs(), torch.ones_like(whole))
    elif spec.scale == "abs_max" and spec.rounding == "nearest" and (size > 1e-9 or spec.normalize != "none"):
        assert float(whole.abs().max()) == levels  # the largest weight takes the largest code
    assert bool((scale > 0).all())
    assert scale.requires_grad == spec.is_learned
    if spec.per == "layer":
        assert len(set(scale.tolist())) == 1
    codes.sum().backward()
    assert bool(weight.grad.isfinite().all())


def test_twos_complement_gradient_is_one_over_the_scale():
    weight = torch.tensor([[1.0, -0.3, 0.1], [3.5, 2.0, 0.0]], requires_grad=True)
    codes, scale = quantize_weight(weight, WeightSpec(bits=4))
    codes.sum().backward()
    assert torch.allclose(weight.grad, (1 / scale).unsqueeze(1).expand(2, 3))
    real = (codes * scale.unsqueeze(1)).detach()
    assert float((real - weight.detach()).abs().max()) <= float(scale.max()) / 2 + 1e-6


def test_a_new_grid_joins(monkeypatch):
    monkeypatch.setitem(WEIGHT_GRIDS, "halves", range(3, 4))
    monkeypatch.setitem(__import__("bitspike.spec", fromlist=["GRID_SCALES"]).GRID_SCALES, "halves", ("fixed",))
    monkeypatch.setattr("bitspike.quant.weights._GRIDS", dict(_GRIDS))

    @register_grid("halves")
    def halves(weight, spec, progress):
        return QuantizedWeight(torch.floor(weight * 2), torch.full((len(weight),), 0.5))

    codes, scale = quantize_weight(torch.tensor([[0.6, -0.6]]), WeightSpec(bits=3, grid="halves"))
    assert (codes.tolist(), scale.tolist()) == ([[1.0, -2.0]], [0.5])
    assert WeightSpec(bits=3, grid="halves").scale == "fixed"
