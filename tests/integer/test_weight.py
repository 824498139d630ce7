"""Packing of weights: hand-computed bytes, and every grid there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitspike.integer.weight import Weight


def test_binary_weights_of_a_hand_computed_layer():
    # Inputs are the outer order, outputs the inner one: bits 1, 0, 0 | 0, 1, 1.
    weight = Weight.of(np.array([[1, -1], [-1, 1], [-1, 1]]))
    assert (weight.grid, weight.bits) == ("binary", 1)
    assert weight.planes.tolist() == [[0b110001]]
    assert weight.codes.dtype == np.int8


def test_signed_weights_of_a_hand_computed_layer():
    weight = Weight.of(np.array([[-2, 1, 0]]))  # q = 2, 1, 0: plane 0 = 0, 1, 0; plane 1 = 1, 0, 0
    assert (weight.grid, weight.bits) == ("signed", 2)
    assert weight.planes.tolist() == [[0b010], [0b001]]


def test_convolutions_are_packed_row_column_input_output():
    codes = np.where(np.arange(2 * 3 * 1 * 2).reshape(2, 3, 1, 2) % 5 == 0, 1, -1)  # +1 at flat 0, 5, 10
    expected = [codes[o, i, y, x] > 0 for y in range(1) for x in range(2) for i in range(3) for o in range(2)]
    bits = np.unpackbits(Weight.of(codes).planes[0], bitorder="little")
    assert bits[:12].tolist() == expected
    assert not bits[12:].any()


@pytest.mark.parametrize(
    ("codes", "grid", "bits"),
    [
        ([[0]], "signed", 1),
        ([[0, -1]], "signed", 1),
        ([[-2, -2]], "signed", 2),
        ([[1, 0]], "signed", 2),
        ([[3, -3, 1]], "odd", 2),
        ([[7, -5]], "odd", 3),
        ([[255, -255]], "odd", 8),
        ([[-127, 127]], "odd", 7),
        ([[-127, 126]], "signed", 8),
        ([[-128, 127]], "signed", 8),
        ([[128, 0]], "signed", 9),
    ],
)
def test_the_narrowest_grid_is_chosen(codes, grid, bits):
    weight = Weight.of(np.array(codes))
    assert (weight.grid, weight.bits) == (grid, bits)
    assert Weight(weight.shape, grid, bits, weight.planes).codes.tolist() == codes


@given(
    shape=st.sampled_from(((1, 1), (3, 5), (8, 2), (5, 3, 2, 3), (1, 1, 1, 1), (16, 2, 3, 3))),
    bits=st.integers(1, 9),
    odd=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_codes_survive_packing(shape, bits, odd, seed):
    drawn = np.random.default_rng(seed).integers(0, 2**bits, shape)
    codes = 2 * drawn - (2**bits - 1) if odd else drawn - 2 ** (bits - 1)
    weight = Weight.of(codes)
    again = Weight(weight.shape, weight.grid, weight.bits, weight.planes)
    assert np.array_equal(again.codes, codes)
    assert again == weight
    assert weight.bits <= bits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2,), "binary", 1, np.zeros((1, 1), np.uint8)), "shape"),
        (((0, 2), "binary", 1, np.zeros((1, 0), np.uint8)), "shape"),
        (((2, 2), "ternary", 1, np.zeros((1, 1), np.uint8)), "grid"),
        (((2, 2), "binary", 2, np.zeros((2, 1), np.uint8)), "grid"),
        (((2, 2), "odd", 1, np.zeros((1, 1), np.uint8)), "grid"),
        (((2, 2), "signed", 17, np.zeros((17, 1), np.uint8)), "grid"),
        (((3, 3), "binary", 1, np.zeros((1, 1), np.uint8)), r"uint8 \[1, 2\]"),
        (((2, 2), "binary", 1, np.zeros((1, 1), np.int8)), "int8"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Weight(*arguments)
