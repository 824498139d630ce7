import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitspike.block.fold import INT32, Channels, Reach, dead_zone, fold, reach
from bitspike.spec import MembraneSpec


def channels(gain, offset, exponent):
    return Channels(torch.tensor(gain).double(), torch.tensor(offset).double(), torch.tensor(exponent), None)


def sums(*magnitudes):
    top = torch.tensor(magnitudes)
    return Reach(-top, top)


def test_one_channel_by_hand():
    # a = 1/4, d = 0.3, v = 1, n = 3: L = ceil(log2(1 / 0.75)) = 1, g = max(1, 1) = 1, f = 0
    fire, shift = fold(channels([0.25], [0.3], [1]), MembraneSpec(bits=3), sums(20), None, 2, 5)
    assert shift is None
    assert (fire.g, fire.h, fire.leak, fire.levels, fire.stream) == (1, 0, 1, 3, 5)
    assert fire.shift.tolist() == [0]
    assert fire.threshold.tolist() == [[3, -1, -5]]  # ceil(0.7 / a), ceil(-0.3 / a), ceil(-1.3 / a)
    assert fire.rounding.tolist() == [[2, 6, 10]]  # floor(1.2 + 1), floor(5.2 + 1), floor(9.2 + 1)
    assert fire.rounding_fired is None


def test_fixed_point_by_hand():
    """What is stored lies below 2^(g + 2) = 8, so 4 bits reach 32 in steps of 4: the constants above, half up."""
    fire, _ = fold(channels([0.25], [0.3], [1]), MembraneSpec(bits=3, threshold_bits=4), sums(20), None, 2, 5)
    assert fire.threshold.tolist() == [[4, 0, -4]]  # of 3, -1, -5
    assert fire.rounding.tolist() == [[4, 8, 12]]  # of 2, 6, 10
    wide, _ = fold(channels([0.25], [0.3], [1]), MembraneSpec(bits=3, threshold_bits=6), sums(20), None, 2, 5)
    assert wide.threshold.tolist() == [[3, -1, -5]]  # steps of 1
    far, _ = fold(
        channels([0.25, 0.25], [0.3, -20.0], [1, 1]), MembraneSpec(bits=3, threshold_bits=4), sums(90, 90), None, 0, 5
    )
    assert far.threshold.tolist() == [[4], [28]]  # 84 is beyond 7 steps


def test_never_and_always_stay_so_in_fixed_point():
    """Bounds of sums that are no multiples of the step are widened to the next one."""
    spec = MembraneSpec(bits=3, threshold_bits=2)  # steps of 16
    fire, _ = fold(channels([0.25, 0.25], [1e6, -1e6], [1, 1]), spec, sums(3, 3), None, 0, 0)
    assert fire.threshold.tolist() == [[-16], [16]]


def test_soft_reset_and_floor_by_hand():
    spec = MembraneSpec(bits=3, reset="soft", rounding="floor")
    fire, _ = fold(channels([0.25], [0.3], [1]), spec, sums(20), None, 1, 0)
    assert fire.rounding.tolist() == [[1, 5]]
    assert fire.rounding_fired.tolist() == [[-3, 1]]  # floor(-2.8), floor(1.2)


def test_channels_of_other_exponents_shift_their_sums():
    fire, _ = fold(channels([0.25, 0.0625], [0.0, 0.0], [1, 3]), MembraneSpec(bits=3), sums(9, 9), None, 0, 0)
    assert fire.g == 3
    assert fire.shift.tolist() == [2, 0]
    assert fire.threshold.tolist() == [[16], [16]]


def test_dyadic_ties_fire_at_the_threshold_and_above_only():
    fire, _ = fold(channels([0.5], [0.0], [1]), MembraneSpec(bits=2), sums(8), None, 0, 0)
    assert fire.threshold.tolist() == [[2]]
    late, _ = fold(channels([0.5], [-(2.0**-18)], [1]), MembraneSpec(bits=2), sums(8), None, 0, 0)
    assert late.threshold.tolist() == [[3]]


def test_far_offsets_are_always_and_never():
    fire, _ = fold(channels([1.0, 1.0], [1e12, -1e12], [0, 0]), MembraneSpec(bits=2), sums(7, 5), None, 0, 0)
    largest = (7 << 1) + 1
    assert fire.threshold.tolist() == [[-largest], [largest + 1]]
    limit = largest + (2 << 1)
    assert fire.rounding.tolist() == [[limit], [-limit]]
    assert (-largest + limit) >> fire.g >= fire.levels


def test_skip_ratio_moves_the_skips_shift():
    given_channels = Channels(
        torch.ones(2).double(), torch.zeros(2).double(), torch.zeros(2).long(), torch.tensor([2.0, -3.0])
    )
    fire, shift = fold(given_channels, MembraneSpec(bits=2), sums(5, 5), sums(1, 1), 0, 0)
    assert fire.g == 3
    assert fire.shift.tolist() == [3, 3]
    assert shift.tolist() == [5, 0]


def test_reach_knows_signs():
    weight = torch.tensor([[[[3, -2]], [[1, 0]]]])
    got = reach(weight, torch.tensor([-10, 0]), torch.tensor([5, 7]))
    assert (int(got.low), int(got.high), int(got.magnitude)) == (-30 - 10, 15 + 20 + 7, 42)


@settings(max_examples=150)
@given(
    st.floats(1e-7, 1e4),
    st.floats(-1e3, 1e3),
    st.integers(-10, 16),
    st.integers(2, 16),
    st.sampled_from(["0", "1/2", "7/8", "5/256", "1"]),
    st.integers(0, 2**31),
)
def test_what_is_accepted_fits_at_the_very_ends(gain, offset, exponent, bits, leak, magnitude):
    """The proof, in Python's own integers: at +-|A| and +-n every intermediate fits."""
    spec = MembraneSpec(bits=bits, leak=Fraction(leak), reset="soft")
    one = channels([gain], [offset], [exponent])
    g = max(spec.leak_exponent, exponent)
    largest = (magnitude << (g - exponent)) + ((spec.levels * spec.leak_numerator) << (g - spec.leak_exponent))
    try:
        fire, _ = fold(one, spec, sums(magnitude), None, 1, 0)
    except ValueError as error:
        assert "32 bits" in str(error)
        assert 2 * largest + ((spec.levels + 2) << g) > INT32 or g - exponent > 30
        return
    for table in (fire.rounding, fire.rounding_fired):
        assert largest + int(np.abs(table.astype(np.int64)).max()) <= INT32
    assert largest <= INT32
    assert int(np.abs(fire.threshold.astype(np.int64)).max()) <= largest + 1


def test_wide_sums_are_refused_before_the_proof_itself_overflows():
    for exponent in (-40, -62, -64, -70, -130):
        with pytest.raises(ValueError, match="does not fit 32 bits"):
            fold(channels([1e9], [0.0], [exponent]), MembraneSpec(bits=2), sums(1 << 20), None, 0, 0)


@pytest.mark.parametrize(
    ("bits", "leak", "rounding", "zone"),
    [
        (2, "1/2", "nearest", 1),
        (2, "0", "nearest", 0),
        (4, "3/4", "nearest", 2),
        (2, "7/8", "nearest", 1),
        (4, "7/8", "nearest", 4),
        (8, "7/8", "nearest", 4),
        (8, "255/256", "nearest", 127),
        (8, "1", "nearest", 127),
        (8, "7/8", "floor", 7),
        (8, "1/2", "floor", 1),
        (8, "3/8", "floor", 1),
        (8, "0", "floor", 0),
        (8, "7/8", "stochastic", 0),
        (32, "7/8", "nearest", 0),
    ],
)
def test_dead_zone_is_what_leaking_shows(bits, leak, rounding, zone):
    spec = MembraneSpec(bits=bits, leak=Fraction(leak), rounding=rounding)
    assert dead_zone(spec) == zone
    if rounding == "stochastic" or bits == 32:
        return
    offset = Fraction(1, 2) if rounding == "nearest" else Fraction(0)
    stays = [u for u in range(-spec.levels, spec.levels + 1) if math.floor(u * spec.leak + offset) == u]
    assert max(abs(u) for u in stays) == zone
