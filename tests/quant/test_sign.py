import math

import pytest
import torch

from bitspike.quant.sign import SIGN_GRADIENTS, annealed_tanh, clipped


@pytest.mark.parametrize("name", sorted(SIGN_GRADIENTS))
def test_zero_of_either_sign_is_plus_one(name):
    got = SIGN_GRADIENTS[name](torch.tensor([0.0, -0.0, 1e-30, -1e-30, 5.0, -5.0]), 0.5)
    assert got.tolist() == [1.0, 1.0, 1.0, -1.0, 1.0, -1.0]


def gradient(function, values, progress):
    weight = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    function(weight, progress).sum().backward()
    return weight.grad.tolist()


def test_clipped_gradient():
    assert gradient(clipped, [-1.01, -1.0, 0.0, 1.0, 1.01], 0.3) == [0.0, 1.0, 1.0, 1.0, 0.0]


@pytest.mark.parametrize(("progress", "sharpness", "gain"), [(0.0, 0.1, 10.0), (0.5, 1.0, 1.0), (1.0, 10.0, 1.0)])
def test_annealed_gradient(progress, sharpness, gain):
    values = [-0.7, 0.0, 0.05, 2.0]
    expected = [gain * sharpness * (1 - math.tanh(sharpness * value) ** 2) for value in values]
    assert gradient(annealed_tanh, values, progress) == pytest.approx(expected, rel=1e-6, abs=1e-12)
