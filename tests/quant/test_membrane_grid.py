import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracle
from bitspike.quant import membrane_exponent, quantize_membrane, quantize_membrane_dynamic
from bitspike.quant.membrane import ceil_log2
from bitspike.spec import MembraneSpec


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, 0), (2.0, 1), (2.0 + 2**-51, 2), (4.0, 2), (3.0, 2), (0.5, -1), (0.3, -1), (2.0**-40, -40), (1e-300, -996)],
)
def test_ceil_log2_is_exact_at_powers_of_two(value, expected):
    assert int(ceil_log2(torch.tensor(value, dtype=torch.float64))) == expected


@given(st.lists(st.floats(1e-8, 1e8), min_size=1, max_size=40), st.integers(2, 16), st.sampled_from([0.3, 1.0, 2.5]))
def test_exponents_are_held_around_the_median(gains, bits, alpha):
    spec = MembraneSpec(bits=bits, threshold=alpha)
    got = membrane_exponent(torch.tensor(gains, dtype=torch.float64), spec)
    assert got.tolist() == oracle.exponents(np.array(gains), alpha, spec.levels).tolist()
    assert int(got.max() - got.min()) <= 7


def test_the_step_is_within_a_factor_two_of_its_aim():
    spec = MembraneSpec(bits=4, threshold=1.0, range=1.7)
    gain = torch.tensor([0.011, 0.02, 0.03], dtype=torch.float64)
    step = gain * torch.exp2(membrane_exponent(gain, spec).double())
    assert bool((step >= 1.7 / 7).all())
    assert bool((step < 2 * 1.7 / 7).all())


def test_a_dead_channel_does_not_coarsen_the_others():
    spec = MembraneSpec(bits=2)
    alive = membrane_exponent(torch.full((9,), 0.1), spec)
    one_dead = membrane_exponent(torch.tensor([0.1] * 9 + [1e-6]), spec)
    assert one_dead[:9].tolist() == alive.tolist()
    assert int(one_dead[9]) == int(alive[0]) + 4


def grid(values, rounding, noise=None):
    spec = MembraneSpec(bits=3, rounding=rounding)
    drawn = None if noise is None else torch.tensor(noise)
    return quantize_membrane(torch.tensor(values), torch.tensor(0.25), spec, drawn).tolist()


def test_membrane_values():
    assert grid([0.124, 0.125, -0.125, -0.126, 0.625, 9.0, -9.0], "nearest") == [0, 0.25, 0, -0.25, 0.75, 0.75, -0.75]
    assert grid([0.249, 0.25, -0.001, -0.25, -0.26], "floor") == [0.0, 0.25, -0.25, -0.25, -0.5]
    assert grid([0.1, 0.1, 0.1], "stochastic", [0.0, 0.5, 0.6]) == [0.0, 0.0, 0.25]


def test_membrane_gradient_stops_beyond_the_range_and_at_the_step():
    potential = torch.tensor([-0.8, -0.75, 0.1, 0.75, 0.8], requires_grad=True)
    step = torch.tensor(0.25, requires_grad=True)
    quantize_membrane(potential, step.detach(), MembraneSpec(bits=3)).sum().backward()
    assert potential.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]
    assert step.grad is None


def test_stochastic_rounding_is_right_in_the_mean():
    torch.manual_seed(0)
    value = torch.full((20_000,), 0.3)
    spec = MembraneSpec(bits=4, rounding="stochastic")
    got = quantize_membrane(value, torch.tensor(0.125), spec, torch.rand_like(value))
    assert set(got.tolist()) == {0.25, 0.375}
    assert float(got.mean()) == pytest.approx(0.3, abs=0.002)


def test_the_dynamic_form_depends_on_the_batch_and_is_the_published_formula():
    spec = MembraneSpec(bits=2, form="dynamic")
    alone = quantize_membrane_dynamic(torch.tensor([0.3]), spec)
    assert alone.tolist() == pytest.approx([math.tanh(0.3)])
    together = quantize_membrane_dynamic(torch.tensor([0.3, -2.0]), spec)
    assert together.tolist() == pytest.approx([0.0, -math.tanh(2.0)])
    assert quantize_membrane_dynamic(torch.zeros(3), spec).tolist() == [0.0, 0.0, 0.0]


def test_the_dynamic_forms_gradient_passes_tanh():
    potential = torch.tensor([0.3, -2.0], dtype=torch.float64, requires_grad=True)
    quantize_membrane_dynamic(potential, MembraneSpec(bits=4, form="dynamic")).sum().backward()
    assert potential.grad.tolist() == pytest.approx([1 - math.tanh(0.3) ** 2, 1 - math.tanh(2.0) ** 2])
