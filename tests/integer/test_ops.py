"""The operations that define the integer form, against numbers worked out by hand and int64 brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import oracle
from bitspike.integer import graph, ops


def fire(**changes):
    """One channel, n = 3, tau = 1/2, g = 3 (so h = 2), threshold 20, nearest rounding (o = 4)."""
    base = {
        "threshold": np.array([[20]], np.int32),
        "rounding": np.array([[4]], np.int32),
        "rounding_fired": None,
        "shift": np.array([0], np.uint8),
        "leak": 1,
        "leak_exponent": 1,
        "g": 3,
        "levels": 3,
        "reset": "hard",
        "stochastic": False,
        "seed": 0,
        "stream": 0,
    }
    return graph.Fire(**{**base, **changes})


def step(currents, potentials, layer, count=None, number=0):
    """Each current with its potential as one sample of one channel; (spikes, stored potentials)."""
    current = torch.tensor(currents, dtype=torch.int32).reshape(-1, 1)
    potential = torch.tensor(potentials, dtype=torch.int32).reshape(-1, 1)
    counts = None if count is None else torch.tensor(count, dtype=torch.int32).reshape(-1, 1)
    spikes, stored = ops.fire_step(current, potential, counts, layer, number)
    return spikes.flatten().tolist(), stored.flatten().tolist()


def test_hard_reset_nearest():
    # I = U * 4 + A: 19 -> (19+4)>>3 = 2; 20 fires; 16+4 fires by its membrane; 4 -> 1 (half up); 3 -> 0
    assert step([19, 20, 16, 4, 3], [0, 0, 1, 0, 0], fire()) == ([0, 1, 1, 0, 0], [2, 0, 0, 1, 0])


def test_negative_values_floor_and_round_half_up():
    # -4 + 4 = 0 -> 0 (half up, towards plus); -5 + 4 = -1 -> -1; -12 + 4 = -8 -> -1; -13 + 4 = -9 -> -2
    assert step([-4, -5, -12, -13], [0] * 4, fire()) == ([0] * 4, [0, -1, -1, -2])
    # floor: -1 -> -1, -8 -> -1, -9 -> -2, 7 -> 0, 8 -> 1
    floor = fire(rounding=np.array([[0]], np.int32))
    assert step([-1, -8, -9, 7, 8], [0] * 5, floor) == ([0] * 5, [-1, -1, -2, 0, 1])


def test_the_store_is_clamped_symmetrically():
    assert step([-100, -28, -29, 19], [0] * 4, fire()) == ([0] * 4, [-3, -3, -3, 2])
    never = fire(threshold=np.array([[1000]], np.int32))
    assert step([100, 27, 28, 19], [0] * 4, never) == ([0] * 4, [3, 3, 3, 2])


def test_soft_reset_uses_the_other_constant_only_where_fired():
    soft = fire(reset="soft", rounding_fired=np.array([[4 - 20]], np.int32))
    # 19 stays; 20 - 20 = 0; 31 - 20 = 11 + 4 = 15 -> 1; 24 + 2 * 4 = 32 - 20 + 4 = 16 -> 2; 100 clamps to 3
    assert step([19, 20, 31, 24, 100], [0, 0, 0, 2, 0], soft) == ([0, 1, 1, 1, 1], [2, 0, 1, 2, 3])


@pytest.mark.parametrize(
    ("leak", "exponent", "stored", "expected"),
    [
        (7, 3, 3, 3),
        (7, 3, -3, -3),
        (3, 2, 3, 2),
        (3, 2, -3, -2),
        (1, 0, 3, 3),
        (0, 0, 3, 0),
        (1, 1, 1, 1),
        (1, 1, -1, 0),
    ],
)
def test_leak_alone(leak, exponent, stored, expected):
    """3 * 7/8 = 2.625 -> 3 and -2.625 -> -3: the dead zone; 2.25 -> 2; 1/2 -> 1 but -1/2 -> 0: half up."""
    layer = fire(leak=leak, leak_exponent=exponent, threshold=np.array([[1000]], np.int32))
    assert step([0], [stored], layer) == ([0], [expected])


def test_odd_leak_of_256ths():
    # tau = 5/256, e = 8, g = 8, h = 0: I = 5 U + A; o = 128
    layer = fire(leak=5, leak_exponent=8, g=8, levels=127, rounding=np.array([[128]], np.int32))
    layer = graph.Fire(**{**layer.__dict__, "threshold": np.array([[700]], np.int32)})
    # 635 + 60 = 695 -> (695+128)>>8 = 3; 635 + 65 fires; -635 - 133 = -768 -> (-640)>>8 = -3 (floor -2.5)
    assert step([60, 65, -133], [127, 127, -127], layer) == ([0, 1, 0], [3, 0, -3])


def test_zero_shift():
    layer = fire(leak=1, leak_exponent=0, g=0, rounding=np.array([[0]], np.int32))
    assert step([2, -2, 5, 19], [0, -3, 1, 1], layer) == ([0, 0, 0, 1], [2, -3, 3, 0])


def test_counts_choose_their_column():
    layer = fire(threshold=np.array([[20, 12, 4]], np.int32), rounding=np.array([[4, 12, 20]], np.int32))
    assert step([12, 12, 3], [0, 0, 0], layer, count=[0, 1, 2]) == ([0, 1, 0], [2, 0, 2])


def test_stochastic_adds_the_generators_integers_and_ignores_the_batch():
    layer = fire(rounding=np.array([[0]], np.int32), stochastic=True, seed=9, stream=2)
    drawn = int(oracle.random_integers(1, 1, 3, 9, 2, 5)[0, 0])
    currents = list(range(-16, 17))
    _, stored = step(currents, [0] * 33, layer, number=5)
    assert stored == [max(-3, min(3, (current + drawn) // 8)) for current in currents]
    seen = {step([4], [0], layer, number=number)[1][0] for number in range(30)}
    assert seen == {0, 1}


def test_steps_of_a_stream_draw_like_steps_of_a_block():
    layer = fire(rounding=np.array([[0]] * 3, np.int32), stochastic=True, threshold=np.array([[9]] * 3, np.int32))
    layer = graph.Fire(**{**layer.__dict__, "shift": np.zeros(3, np.uint8)})
    node = graph.Spiking("n", "x", graph.Dense(np.array([[3, -2], [1, 5], [-4, 7]], np.int8)), layer, None)
    value = torch.randint(0, 3, (6, 4, 2), dtype=torch.int32, generator=torch.Generator().manual_seed(0))
    whole, last = ops.spiking(value, None, node)
    state = None
    for t in range(6):
        part, state = ops.spiking(value[t : t + 1], None, node, state)
        assert torch.equal(part[0], whole[t])
    assert torch.equal(state.potential, last.potential)
    assert state.steps == last.steps == 6
    assert 0 < int(whole.sum()) < whole.numel()


@settings(max_examples=60)
@given(
    st.integers(0, 2**31 - 1),
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(3, 7), st.integers(3, 7)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.sampled_from([1, 255, 40_000]),
)
def test_convolution_equals_int64(seed, shape, kernel, stride, padding, largest):
    numbers = np.random.default_rng(seed)
    outputs, inputs, height, width = shape
    weight = numbers.integers(-127, 128, (outputs, inputs, *kernel)).astype(np.int8)
    value = numbers.integers(-largest, largest + 1, (2, 2, inputs, height, width))
    operator = graph.Convolution(weight, stride, padding)
    got = ops.weighted_sum(torch.from_numpy(value).to(torch.int32), operator)
    assert got.dtype == torch.int32
    assert np.array_equal(got.numpy(), oracle.convolve(value, weight.astype(np.int64), stride, padding))


def test_sums_beyond_24_bits_stay_exact():
    """float32 has no odd whole numbers beyond 2^24."""
    weight = np.full((1, 64, 3, 3), 127, np.int8)
    weight[0, 0, 0, 0] = 126
    value = torch.full((1, 1, 64, 3, 3), 16_383, dtype=torch.int32)
    total = (64 * 9 * 127 - 1) * 16_383
    assert int(np.float32(total)) != total
    assert int(ops.weighted_sum(value, graph.Convolution(weight, (1, 1), (0, 0)))) == total
    dense = graph.Dense(np.array([[127, 127, 1]], np.int8))
    operand = torch.tensor([[[2**17, 2**17, 1], [2**17, 2**17 - 1, 0]]], dtype=torch.int32)
    assert ops.weighted_sum(operand, dense).flatten().tolist() == [127 * 2**18 + 1, 127 * (2**18 - 1)]


def test_sums_ignore_autocast():
    numbers = torch.Generator().manual_seed(1)
    value = torch.randint(-127, 128, (1, 2, 8, 5, 5), dtype=torch.int32, generator=numbers)
    weight = torch.randint(-127, 128, (4, 8, 3, 3), dtype=torch.int8, generator=numbers)
    exact = oracle.convolve(value.long().numpy(), weight.long().numpy(), (1, 1), (1, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = ops.weighted_sum(value, graph.Convolution(weight.numpy(), (1, 1), (1, 1)))
        rounded = functional.conv2d(value[0].float(), weight.float(), padding=1)
    assert np.array_equal(got.numpy(), exact)
    assert not np.array_equal(rounded.float().numpy(), exact[0])  # what autocast would have done


def test_a_static_value_is_summed_once(monkeypatch):
    samples = []
    plain = functional.conv2d

    def counted(value, *rest):
        samples.append(len(value))
        return plain(value, *rest)

    monkeypatch.setattr(ops.F, "conv2d", counted)
    operator = graph.Convolution(np.ones((2, 3, 3, 3), np.int8), (1, 1), (1, 1))
    once = torch.randint(0, 9, (5, 3, 4, 4), dtype=torch.int32)
    static = ops.weighted_sum(once.expand(4, *once.shape), operator)
    repeated = ops.weighted_sum(once.repeat(4, 1, 1, 1, 1), operator)
    assert samples == [5, 20]
    assert static.stride(0) == 0
    assert torch.equal(static, repeated)


def test_plain_skip_strides_and_maps():
    value = torch.arange(2 * 1 * 3 * 3 * 3).reshape(2, 1, 3, 3, 3)
    got = ops.plain_skip(value, 2, (2, -1, 0, 0))
    assert got.shape == (2, 1, 4, 2, 2)
    assert torch.equal(got[:, :, 0], value[:, :, 2, ::2, ::2])
    assert torch.equal(got[:, :, 3], value[:, :, 0, ::2, ::2])
    assert int(got[:, :, 1].abs().sum()) == 0
    flat = torch.arange(6).reshape(1, 2, 3)
    assert ops.plain_skip(flat, 2, (1, 1)).tolist() == [[[1, 1], [4, 4]]]


@pytest.mark.parametrize(("kind", "expected"), [("max", [[6, 7], [10, 11]]), ("sum", [[14, 18], [30, 34]])])
def test_pools_drop_what_does_not_fill_a_window(kind, expected):
    value = torch.arange(16, dtype=torch.int32).reshape(1, 1, 1, 4, 4)[..., 1:, :3] - 3
    got = ops.pool(value, graph.Pool("p", "x", kind, (2, 2), (1, 1)))
    assert got.dtype == torch.int32
    assert got[0, 0, 0].tolist() == expected
    whole = ops.pool(value, graph.Pool("p", "x", kind, None, None))
    assert whole.tolist() == [[[[[{"max": 11, "sum": 54}[kind]]]]]]
    coarse = ops.pool(value, graph.Pool("p", "x", kind, (2, 2), (2, 2)))
    assert coarse[0, 0, 0].tolist() == [[expected[0][0]]]


def test_what_lies_beyond_the_map_does_not_count():
    """Neither as a zero that would be the largest of negative numbers."""
    value = torch.tensor([[-5, -9, -3], [-4, -6, -8], [-10, -1, -5]], dtype=torch.int32).reshape(1, 1, 1, 3, 3)
    largest = ops.pool(value, graph.Pool("p", "x", "max", (3, 3), (2, 2), (1, 1)))
    assert largest[0, 0, 0].tolist() == [[-4, -3], [-1, -1]]
    total = ops.pool(value, graph.Pool("p", "x", "sum", (3, 2), (2, 1), (1, 0)))
    assert total[0, 0, 0].tolist() == [[-24, -26], [-21, -20]]


def test_pixels_lose_their_zero_point():
    node = graph.Input("x", "image", (2, 1, 1), 3, (5, 250), 255, 1.0)
    samples = torch.tensor([[[[0]], [[255]]]], dtype=torch.uint8)
    assert ops.center(samples, node).flatten().tolist() == [-5, 5]


def test_readout_is_64_bits_wide():
    node = graph.Readout("r", "x", np.array([[127, 127], [-127, 1]], np.int8), np.zeros(2, np.int32), 1.0, 1)
    got = ops.readout(torch.tensor([[[2**20, 2**20]]], dtype=torch.int32), node)
    assert got.dtype == torch.int64
    assert got.tolist() == [[[127 * 2**21, -126 * 2**20]]]


def test_the_largest_sum_of_every_window_goes_on():
    """Sums by a kernel of one place are twice the map; windows of 2 x 2, one row and two columns further on each."""
    operator = graph.Convolution(np.array([[[[2]]]]), (1, 1), (0, 0), graph.Largest((2, 2), (1, 2)))
    value = torch.tensor([[-3, -1, 0, 4], [-2, -5, 1, 1], [-7, -1, -9, -8]]).reshape(1, 1, 1, 3, 4)
    assert ops.weighted_sum(value, operator).reshape(2, 2).tolist() == [[-2, 8], [-2, 2]]
