import numpy as np
import pytest
import torch

from bitspike import real_form
from bitspike.block import Readout
from bitspike.spec import WeightSpec


def readout(weight, bias=None, bits=8):
    block = Readout(len(weight[0]), len(weight), bias=bias is not None).eval()
    block.weight_spec = WeightSpec(bits=bits)
    with torch.no_grad():
        block.weight.copy_(torch.tensor(weight))
        if bias is not None:
            block.bias.copy_(torch.tensor(bias))
    return block


def test_one_scale_and_a_bias_rounded_once():
    block = readout([[1.27, 0.0], [0.01, -0.64]], [0.005, -0.015])
    node = block.to_node("r", "x", 3)
    assert node.weight.codes.tolist() == [[127, 0], [1, -64]]
    assert node.bias.tolist() == [2, -4]  # 3 * 0.5 = 1.5 and 3 * -1.5 = -4.5, half up
    assert node.unit == np.float32(np.float32(1.27) / np.float32(127) / 3)
    assert node.time_steps == 3


def test_logits_are_multiples_of_the_unit_whose_mean_is_the_answer():
    block = readout([[1.27, 0.0], [0.01, -0.64]], [0.005, -0.015])
    value = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]], [[0.0, 2.0]]])
    logits = block(value)
    assert logits.dtype == torch.float64
    unit = block.to_node("r", "x", 3).unit
    assert (logits[:, 0] / unit).round().tolist() == [[383, -1], [383, -193], [2, -388]]
    assert (logits.mean(0) / unit).round().tolist() == [[256, -194]]
    block.in_real_form = True
    # The bias of 0.005 comes to 1.5 weight steps over three time steps, which round up to 2.
    rounded = torch.tensor([0.02, -0.04]).double() / 3
    real = value.double() @ torch.tensor([[127, 0], [1, -64]]).double().T * 0.01 + rounded
    assert torch.allclose(block(value), real, atol=1e-6)
    assert torch.equal(block(value), logits)


def test_ties_go_to_the_lowest_index():
    block = readout([[0.5], [0.5], [0.25]])
    logits = block(torch.ones(7, 1, 1))
    assert int(logits.mean(0).argmax(-1)) == 0
    assert logits.mean(0)[0, 0] == logits.mean(0)[0, 1]


def test_a_bias_beyond_32_bits_is_refused_not_wrapped():
    block = readout([[0.0], [0.0]], [100.0, 0.0])
    with pytest.raises(ValueError, match=r"its bias comes to .* beyond 32 bits"):
        block(torch.ones(3, 1, 1))


def test_sums_beyond_32_bits_are_refused():
    block = readout([[1.0] * 64])
    high = torch.full((64,), 300_000)
    with pytest.raises(ValueError, match=r"r: its sums over 9 steps can reach .* beyond 32 bits"):
        block.to_node("r", "x", 9, high)


def test_wrong_shape_and_broken_weights():
    block = readout([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"shape \[3, 1, 3\]; it takes \[T, B, 2\]"):
        block(torch.ones(3, 1, 3))
    with torch.no_grad():
        block.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="Readout holds weights that are not finite numbers"):
        block(torch.ones(3, 1, 2))


def test_float_readout_is_plain():
    block = readout([[0.5, -1.0]], [0.25], bits=32)
    got = block(torch.tensor([[[1.0, 2.0]]]))
    assert got.dtype == torch.float32
    assert got.item() == -1.25


def test_the_real_form_gives_the_integer_forms_logits_exactly():
    readout = Readout(7, 3)
    readout.weight_spec = WeightSpec(bits=8)
    readout.bias.data = torch.tensor([0.3, -1.7, 0.001])
    value = torch.randint(0, 5, (3, 4, 7), generator=torch.Generator().manual_seed(2)).float()
    with real_form(readout):
        real = readout(value)
    assert torch.equal(real, readout.eval()(value))
    real.sum().backward()
    assert torch.allclose(readout.bias.grad, torch.full((3,), 12.0))


@pytest.mark.parametrize("arguments", [(0, 3), (3, 0), (3, 2.5), (True, 2)])
def test_sizes_must_be_whole_and_positive(arguments):
    with pytest.raises(ValueError, match=r"Readout: (in_features|classes) is .*; it must be a whole number, 1 or more"):
        Readout(*arguments)


def test_inputs_below_zero_count_in_the_bound():
    block = readout([[1.0, 1.0]])
    high, low = torch.zeros(2, dtype=torch.int64), torch.full((2,), -(2**29))
    with pytest.raises(ValueError, match="beyond 32 bits"):
        block.to_node("r", "x", 9, high, low)
    block.to_node("r", "x", 1, high, low // 2**20)
