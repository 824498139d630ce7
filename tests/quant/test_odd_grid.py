"""The odd grid, its scales and its gradients, by hand and against plain definitions."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitspike.quant import initial_gamma, quantize_weight
from bitspike.quant.gamma import SCALE_FLOOR, percentile
from bitspike.quant.odd import learned_gamma
from bitspike.spec import GRID_SCALES, WeightSpec

FIXED = ("mean", "abs_max", "percentile", "unit", "mse")


def odd(bits, scale="mean", **choices):
    return WeightSpec(bits=bits, grid="odd", scale=scale, **choices)


def normal(*shape, seed=0, deviation=0.05):
    return torch.from_numpy(np.random.default_rng(seed).normal(0, deviation, shape).astype(np.float32))


def real(weight, spec, **options):
    codes, scale = quantize_weight(weight, spec, **options)
    return codes * scale.reshape(-1, *(1,) * (weight.dim() - 1))


def squared_error(weight, spec):
    return float((real(weight, spec) - weight).double().square().sum())


def test_two_bits_by_hand():
    """gamma = mean |w| = 1.5; edges at -1, 0, 1; beyond 1.5 clipped."""
    weight = torch.tensor([[0.0, -1e-30, 0.999, -1.0, -1.001, 1.0, 4.0, -4.0]]).double()
    weight[0, 2] = 1.0 - 1e-6
    codes, scale = quantize_weight(weight, odd(2, "unit"))
    assert scale.tolist() == [1 / 3]
    rows = torch.tensor([[0.0, -1e-30, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]])
    assert float(rows.abs().mean()) == 1.5
    codes, scale = quantize_weight(rows, odd(2))
    assert scale.tolist() == [0.5]
    # 1 and -1 lie on an edge: halves round up, to 3 and to -1.
    assert codes.tolist() == [[1, -1, 3, -1, 3, -3, 3, -3]]


@pytest.mark.parametrize("bits", range(2, 9))
def test_all_levels_are_there_and_none_is_zero(bits):
    s = 2**bits - 1
    weight = torch.linspace(-1, 1, 4 * s * 20 + 1).unsqueeze(0)
    codes, scale = quantize_weight(weight, odd(bits, "abs_max"))
    assert codes.unique().tolist() == list(range(-s, s + 1, 2))
    assert odd(bits).levels == 2**bits == len(codes.unique())
    assert float((codes * scale - weight).abs().max()) <= float(scale[0]) * (1 + 1e-4)


def test_levels_at_two_bits_are_thirds():
    weight = torch.linspace(-1, 1, 101).unsqueeze(0)
    gamma = weight.double().abs().mean()
    levels = real(weight, odd(2)).unique().double()
    assert torch.allclose(levels, gamma * torch.tensor([-1, -1 / 3, 1 / 3, 1], dtype=torch.float64))


@given(st.integers(2, 8), st.integers(0, 1000), st.sampled_from([0.3, 1.0, 7.0]))
def test_the_formula_as_it_is_published(bits, seed, size):
    """q = round((s / 2) (clamp(w / gamma) + 1)), real weight gamma (2 q / s - 1), in float64."""
    weight = torch.from_numpy(np.random.default_rng(seed).normal(0, size, (1, 500)))
    s = 2**bits - 1
    gamma = float(weight.abs().mean())
    q = np.floor(s / 2 * (np.clip(weight.numpy() / gamma, -1, 1) + 1) + 0.5)
    codes = quantize_weight(weight, odd(bits)).codes
    assert np.array_equal(codes.numpy(), 2 * q - s)
    assert np.allclose(real(weight, odd(bits)).numpy(), gamma * (2 * q / s - 1))


def test_scales_by_hand():
    rows = torch.tensor([[0.5, -1.5, 0.25, -0.75], [0.0, 0.1, -0.2, 0.1]])

    def gammas(**choices):
        return (quantize_weight(rows, odd(3, **choices)).scale * 7).tolist()

    assert gammas(scale="mean") == pytest.approx([0.75, 0.1])
    assert gammas(scale="mean", per="layer") == pytest.approx([0.425, 0.425])
    assert gammas(scale="abs_max") == pytest.approx([1.5, 0.2])
    assert gammas(scale="abs_max", per="layer") == pytest.approx([1.5, 1.5])
    assert gammas(scale="unit") == pytest.approx([1, 1])
    # Ascending -1.5 -0.75 0.25 0.5: the 0.9 point lies at 0.7 between the last two, the 0.1 point at 0.3 of the first.
    assert gammas(scale="percentile", percentile=0.9)[0] == pytest.approx(max(0.25 + 0.7 * 0.25, 1.5 - 0.3 * 0.75))
    assert gammas(scale="percentile", percentile=1.0) == pytest.approx([1.5, 0.2])


@given(st.integers(1, 60), st.floats(0.5, 1, exclude_min=True), st.integers(0, 100))
def test_percentile_is_the_larger_of_two_quantiles(size, share, seed):
    rows = normal(3, size, seed=seed).double()
    expected = np.maximum(*(abs(np.quantile(rows.numpy(), x, axis=1)) for x in (share, 1 - share)))
    assert np.allclose(percentile(rows, share).numpy(), expected)


@pytest.mark.parametrize("bits", range(2, 9))
def test_mean_magnitude_clips_the_same_share_of_gaussian_weights_at_every_width(bits):
    weight = normal(200_000, deviation=1.0).reshape(1, -1)
    gamma = quantize_weight(weight, odd(bits)).scale * (2**bits - 1)
    clipped = float((weight.abs() > gamma).double().mean())
    assert clipped == pytest.approx(0.425, abs=0.003)


@given(st.integers(2, 8), st.integers(0, 10_000), st.sampled_from(["normal", "laplace", "sparse", "few", "equal"]))
def test_least_squares_is_never_worse(bits, seed, style):
    numbers = np.random.default_rng(seed)
    values = {
        "normal": lambda: numbers.normal(0, 0.05, (4, 100)),
        "laplace": lambda: numbers.laplace(0, 1, (4, 300)),
        "sparse": lambda: numbers.normal(0, 1, (4, 100)) * (numbers.random((4, 100)) < 0.1),
        "few": lambda: numbers.normal(0, 1, (4, 3)),
        "equal": lambda: np.full((4, 9), 0.3),
    }[style]()
    weight = torch.from_numpy(values.astype(np.float32))
    for per, share in itertools.product(("channel", "layer"), (0.99, 0.8)):
        least = squared_error(weight, odd(bits, "mse", per=per, percentile=share))
        for other in ("mean", "abs_max", "percentile"):
            theirs = squared_error(weight, odd(bits, other, per=per, percentile=share))
            assert least <= theirs * (1 + 1e-5) + 1e-12, other


@pytest.mark.parametrize(("bits", "gamma"), [(2, 1.494), (3, 2.051), (4, 2.514)])
def test_least_squares_finds_the_known_optimum_of_gaussian_weights(bits, gamma):
    """Max (1960): the best uniform quantizers of 4, 8 and 16 levels have steps 0.9957, 0.5860, 0.3352."""
    weight = normal(300_000, deviation=1.0).reshape(1, -1)
    found = float(quantize_weight(weight, odd(bits, "mse")).scale) * (2**bits - 1)
    assert found == pytest.approx(gamma, rel=0.02)


def test_least_squares_is_close_to_an_exhaustive_search():
    weight = normal(1, 200, seed=3)
    for bits in (2, 4, 8):
        tried = torch.linspace(0.2, 1.2, 4001).unsqueeze(1) * weight.abs().max()
        s = 2**bits - 1
        codes = 2 * torch.floor((weight / tried).clamp(-1, 1) * (s / 2)) + 1
        errors = (codes * tried / s - weight).double().square().sum(1)
        assert squared_error(weight, odd(bits, "mse")) <= float(errors.min()) * 1.1


@pytest.mark.parametrize("scale", FIXED)
def test_zeros_keep_a_positive_scale(scale):
    codes, found = quantize_weight(torch.zeros(2, 4), odd(4, scale))
    assert codes.tolist() == [[1] * 4] * 2
    assert bool((found > 0).all())
    assert scale == "unit" or found.tolist() == [pytest.approx(SCALE_FLOOR)] * 2


@pytest.mark.parametrize("scale", FIXED)
def test_gradient_by_hand(scale):
    """1 / scale where |w| <= gamma, else 0; none into gamma."""
    weight = torch.tensor([[0.1, -0.2, 0.4, -1.2, 1.0], [2.0, -1.0, 1.0, 0.0, 0.5]], requires_grad=True)
    codes, found = quantize_weight(weight, odd(2, scale))
    assert not found.requires_grad
    codes.sum().backward()
    gamma = (found * 3).unsqueeze(1)
    # The edge itself is inside: with abs_max the largest weight, with unit the weight of 1.
    expected = torch.where(weight.detach().abs() <= gamma * (1 + 1e-6), 1 / found.unsqueeze(1), 0.0)
    assert torch.allclose(weight.grad, expected.expand_as(weight))
    if scale == "abs_max":
        assert bool((weight.grad > 0).all())
    if scale == "mean":
        assert not bool((weight.grad > 0).all())


def surrogate(weight, parameter, spec):
    """The real weight with the rounding left out: what the gradient is the gradient of."""
    gamma = parameter.abs().expand(len(weight)).unsqueeze(1)
    return gamma * (weight / gamma).clamp(-1, 1)


@pytest.mark.parametrize("per", ["channel", "layer"])
def test_learned_gradients_against_finite_differences_of_the_surrogate(per):
    """codes(w, gamma) with its rounding error held: its slope is that of clamp(w / gamma) * s."""
    spec = odd(3, "learned", per=per)
    weight = normal(3, 7, seed=1, deviation=1.0).double().requires_grad_()
    parameter = (torch.tensor([0.9, -1.1, 0.7] if per == "channel" else [0.9]).double()).requires_grad_()
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=(3, 7)))
    codes, _ = quantize_weight(weight, spec, gamma=parameter)
    (codes * direction).sum().backward()

    def smooth(values, at):
        gamma = at.abs().expand(3).unsqueeze(1)
        return float((7 * (values / gamma).clamp(-1, 1) * direction).sum())

    step = 1e-6
    for place in itertools.product(range(3), range(7)):
        shift = torch.zeros(3, 7, dtype=torch.float64)
        shift[place] = step
        with torch.no_grad():
            slope = (smooth(weight + shift, parameter) - smooth(weight - shift, parameter)) / (2 * step)
        assert float(weight.grad[place]) == pytest.approx(slope, rel=1e-6, abs=1e-6)
    divided = (weight.numel() // parameter.numel()) ** 0.5
    for place in range(len(parameter)):
        shift = torch.zeros_like(parameter)
        shift[place] = step
        with torch.no_grad():
            slope = (smooth(weight, parameter + shift) - smooth(weight, parameter - shift)) / (2 * step)
        assert float(parameter.grad[place]) * divided == pytest.approx(slope, rel=1e-6, abs=1e-6)


def test_a_learned_gamma_is_positive_and_gets_the_lsq_gradient_of_the_real_weight():
    spec = odd(2, "learned")
    weight = torch.tensor([[0.2, -0.9, 5.0, -5.0]])
    parameter = torch.tensor([-1.0], requires_grad=True)  # its magnitude counts
    found = real(weight, spec, gamma=parameter)
    assert found.tolist() == [[pytest.approx(1 / 3), -1.0, 1.0, -1.0]]
    found.backward(torch.tensor([[1.0, 10.0, 100.0, 1000.0]]))
    # Inside: (real - w) / gamma; clipped: the sign. Then 1 / sqrt(4), and the sign of the parameter.
    expected = (1 / 3 - 0.2) + 10 * (-1 + 0.9) + 100 - 1000
    assert parameter.grad.tolist() == [pytest.approx(-expected / 2)]
    assert learned_gamma(torch.zeros(1), weight, 1e-6).tolist() == [pytest.approx(1e-6)]


@pytest.mark.parametrize("normalize", ["none", "channel", "layer"])
@pytest.mark.parametrize("per", ["channel", "layer"])
def test_a_learned_gamma_starts_from_least_squares(per, normalize):
    weight = normal(4, 3, 3, 3)
    start = initial_gamma(weight, odd(4, "learned", per=per, normalize=normalize))
    assert start.shape == ((4,) if per == "channel" else (1,))
    learned = quantize_weight(weight, odd(4, "learned", per=per, normalize=normalize), gamma=start)
    fixed = quantize_weight(weight, odd(4, "mse", per=per, normalize=normalize))
    assert torch.equal(learned.codes, fixed.codes)
    assert torch.equal(learned.scale, fixed.scale)


def test_a_learned_scale_without_its_parameter_is_refused():
    with pytest.raises(ValueError, match=r"the scale is learned, but there is no parameter for it; quantize_\(net"):
        quantize_weight(torch.ones(2, 2), odd(4, "learned"))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("scale", FIXED)
def test_bfloat16_holds_all_codes(bits, scale):
    codes = quantize_weight(normal(5, 50), odd(bits, scale)).codes
    assert torch.equal(codes.bfloat16().float(), codes)


def test_the_default_scale_is_the_papers():
    assert GRID_SCALES["odd"][0] == "mean"
    assert WeightSpec(bits=4, grid="odd").scale == "mean"
