"""What `check` refuses, node by node, and that its proof of 32 bits is neither too weak nor too strict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings

import oracle
from bitspike import lower
from bitspike.integer import limits
from bitspike.integer.check import check
from bitspike.integer.graph import Convolution, Dense, Flatten, Graph, Input, Largest, PlainSkip, Pool, Readout, Spiking
from bitspike.integer.weight import Weight
from hand_graphs import by_hand, everything, fire
from strategies import RandomNet, plans

INT32 = 2**31 - 1
GRAPH = everything()
NODES = {node.name: node for node in GRAPH.nodes}


def with_node(at: str, **changes: object) -> Graph:
    """The graph of every kind of node, with one of them changed; keys such as fire__g reach inside."""
    node = NODES[at]
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        node = replace(node, **{outer: replace(getattr(node, outer), **{inner: value}) if inner else value})
    return Graph(tuple(node if known.name == at else known for known in GRAPH.nodes))


def test_shapes_and_ranges_of_every_node():
    values = check(GRAPH)
    assert {name: value.shape for name, value in values.items()} == {
        "input": (2, 7, 7),
        "first": (5, 7, 7),
        "second": (5, 7, 7),
        "third": (6, 4, 4),
        "sum": (6, 2, 2),
        "max": (6, 1, 1),
        "global": (6, 1, 1),
        "unread": (6,),
        "flat": (24,),
        "dense": (3,),
        "readout": (2,),
    }
    assert (values["input"].range.low.tolist(), values["input"].range.high.tolist()) == ([-3, -250], [252, 5])
    assert values["sum"].range.high.tolist() == [9] * 6
    assert values["flat"].range.positions == 4


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("input", {"kind": "sound"}, "input: kind is 'sound'; allowed: image, events"),
        ("input", {"shape": (2, 0, 7)}, r"input: shape is \[2, 0, 7\]"),
        ("input", {"shape": (2, 2**16 + 1, 1)}, r"input: .*allowed: up to 65536 each"),
        ("input", {"shape": (2, 2**15, 2**15)}, r"input: .*are too large; allowed: 67108864 values"),
        ("input", {"shape": (2, 4096, 4096), "time_steps": 60}, r"input: .*60 steps .* too large"),
        ("input", {"time_steps": 0}, "input: time_steps is 0; allowed: 1 to 65536"),
        ("input", {"time_steps": None}, "input: an image is shown for a known number of time steps"),
        ("input", {"time_steps": 2}, "readout: it is made for 3 time steps, the input brings 2"),
        ("input", {"bound": 256}, "input: bound is 256; allowed: 1 to 255"),
        ("input", {"zero_point": (1,)}, "input: zero_point has 1 values for 2 channels"),
        ("input", {"zero_point": (1, 256)}, "input: the largest zero_point is 256"),
        ("input", {"zero_point": (-1, 2)}, "input: the smallest zero_point is -1"),
        ("input", {"kind": "events", "zero_point": (0, 1)}, "input: the largest zero_point is 1; allowed: 0 to 0"),
        ("input", {"scale": float("nan")}, "input: scale is nan"),
        ("first", {"source": "second"}, "first: it reads 'second', which is no node before it"),
        ("first", {"source": "first"}, "first: it reads 'first', which is no node before it"),
        ("first", {"operator__stride": (0, 1)}, "first: stride is 0; allowed: 1 to 65536"),
        ("first", {"operator__stride": (2**17, 1)}, "first: stride is 131072"),
        ("first", {"operator__padding": (0, -1)}, "first: padding is -1"),
        (
            "first",
            {"operator__padding": (2**16, 2**16)},
            "first: its values have shape|first: 1 steps of shape .* are too large",
        ),
        ("first", {"operator__padding": (0, 0)}, r"second: it.*reads|second: its skip|second|third|sum"),
        ("first", {"operator__largest": Largest((8, 1), (1, 1))}, "first: kernel height is 8; allowed: 1 to 7"),
        ("first", {"operator__largest": Largest((1, 0), (1, 1))}, "first: kernel width is 0; allowed: 1 to 7"),
        ("first", {"operator__largest": Largest((2, 2), (0, 1))}, "first: vertical stride is 0"),
        (
            "second",
            {"operator__largest": Largest((1, 1), (1, 1))},
            "second: it takes the largest sums .* and has a skip",
        ),
        (
            "third",
            {"skip__operator": Convolution(np.ones((6, 2, 1, 1), int), (2, 2), (0, 0), Largest((1, 1), (1, 1)))},
            "third: it takes the largest sums .* and has a skip",
        ),
        ("second", {"operator": Dense(np.ones((5, 5), int))}, r"second: dense weights \[5, 5\] do not fit"),
        (
            "second",
            {"operator": Convolution(np.ones((5, 4, 3, 3), int), (1, 1), (1, 1))},
            "second: convolution weights",
        ),
        ("second", {"operator": Convolution(np.ones((5, 5, 10, 3), int), (1, 1), (1, 1))}, r"second: a kernel of \[10"),
        ("second", {"skip": None}, r"second: threshold has shape \[5, 2\]; needed: \[5, 1\]"),
        (
            "second",
            {"skip__source": "input", "skip__channel_map": (0, 1, 0, 1, -1)},
            "second: its skip can bring values from -250 to 252; its tables hold 0",
        ),
        ("second", {"skip__source": "none"}, "second: it reads 'none'"),
        ("second", {"skip__bound": 0}, r"second: threshold has shape \[5, 2\]; needed: \[5, 1\]"),
        ("second", {"skip__bound": -1}, "second: skip bound is -1"),
        ("second", {"skip__stride": 2}, r"second: its skip has shape \[5, 4, 4\], the layer itself \[5, 7, 7\]"),
        ("second", {"skip__stride": 0}, "second: skip stride is 0"),
        ("second", {"skip__channel_map": (0, 1)}, r"second: its skip has shape \[2, 7, 7\]"),
        ("second", {"skip__channel_map": (0, 1, 2, 3, 5)}, "second: the largest number in channel_map is 5"),
        ("second", {"skip__channel_map": (0, 1, 2, 3, -2)}, "second: the smallest number in channel_map is -2"),
        ("third", {"fire__shift": np.zeros(5, np.uint8)}, r"third: shift has shape \[5\]; needed: \[6\]"),
        ("third", {"fire__shift": np.arange(26, 32)}, "third: the largest shift is 31; allowed: 0 to 30"),
        ("third", {"skip__shift": np.full(6, -1)}, "third: the smallest shift is -1"),
        (
            "third",
            {"skip__shift": np.full(6, 30, np.uint8)},
            "third: its sums can reach .*, which does not fit 32 bits",
        ),
        ("third", {"skip__operator__stride": (1, 1)}, "third: its skip has shape"),
        ("third", {"fire__g": 1}, "third: leak_exponent is 2; allowed: 0 to 1"),
        ("third", {"fire__g": 31}, "third: g is 31; allowed: 0 to 30"),
        ("third", {"fire__g": 28}, "third: 7 levels with a g of 28 do not fit 32 bits"),
        ("third", {"fire__leak": 5}, "third: leak is 5; allowed: 0 to 4"),
        ("third", {"fire__leak_exponent": -1}, "third: leak_exponent is -1"),
        ("third", {"fire__levels": 6}, r"third: levels is 6; allowed: 2\^\(bits - 1\) - 1"),
        ("third", {"fire__levels": 0}, "third: levels is 0"),
        ("third", {"fire__levels": 65535}, "third: levels is 65535"),
        ("third", {"fire__seed": 2**32}, "third: seed is 4294967296"),
        ("third", {"fire__stream": -1}, "third: stream is -1"),
        ("third", {"fire__reset": "hard"}, "third: reset is hard, without rounding_fired, or soft, with it"),
        ("third", {"fire__rounding_fired": None}, "third: reset is hard, without rounding_fired, or soft, with it"),
        ("third", {"fire__reset": "none"}, "third: reset is hard"),
        ("third", {"fire__rounding_fired": np.zeros((6, 2), int)}, r"third: rounding_fired has shape \[6, 2\]"),
        ("sum", {"kind": "mean"}, "sum: kind is 'mean'; allowed: max, sum"),
        ("sum", {"kernel": (5, 1)}, "sum: kernel height is 5; allowed: 1 to 4"),
        ("sum", {"kernel": (1, 0)}, "sum: kernel width is 0; allowed: 1 to 4"),
        ("sum", {"stride": (1, 0)}, "sum: horizontal stride is 0"),
        ("global", {"stride": (1, 1)}, "global: it pools the whole map, kernel is missing, yet it has a stride"),
        ("flat", {"source": "unread"}, r"flat: it flattens values of shape \[6\]"),
        ("flat", {"name": "unread"}, "unread: two nodes have this name"),
        ("flat", {"name": "a\nb"}, "node 8: its name is not of 1 to 200 printable characters"),
        ("dense", {"source": "sum"}, r"dense: dense weights \[3, 24\] do not fit values of shape \[6, 2, 2\]"),
        ("readout", {"bias": np.zeros(3, int)}, r"readout: bias has shape \[3\]; needed: \[2\]"),
        ("readout", {"time_steps": 0}, "readout: time_steps is 0"),
        ("readout", {"unit": 0.0}, "readout: unit is 0.0"),
        ("readout", {"unit": float("inf")}, "readout: unit is inf"),
        ("readout", {"weight": Weight.of(np.ones((2, 4), int))}, r"readout: dense weights \[2, 4\] do not fit"),
        ("readout", {"bias": np.array([0, 8 - INT32])}, f"readout: its sums can reach {INT32 + 1}, which"),
    ],
)
def test_what_is_wrong_is_refused_by_the_node_s_name(name, changes, message):
    with pytest.raises(ValueError, match=message):
        check(changed_graph(name, changes))


def changed_graph(name: str, changes: dict[str, object]) -> Graph:
    if "skip__operator__stride" in changes:
        skip = NODES[name].skip
        changes = {"skip": replace(skip, operator=replace(skip.operator, stride=changes["skip__operator__stride"]))}
    return with_node(name, **changes)


def test_order_and_number_of_nodes():
    first, *middle, last = GRAPH.nodes
    for nodes in ((first,), (), (first, last, last), (first, first, last), (*middle, last), (first, *middle)):
        with pytest.raises(ValueError, match=r"begins with its input and ends with its readout|nodes; allowed: 2 to"):
            check(Graph(nodes))


def test_a_stream_of_any_length_takes_no_bias():
    def net(bias):
        entry = Input("input", "events", (1, 1, 1), None, (0,), 1, 1.0)
        return Graph((entry, Flatten("flat", "input"), Readout("out", "flat", np.ones((1, 1), int), bias, 1.0, 1)))

    check(net(np.array([0])))
    with pytest.raises(ValueError, match="out: the input takes any number of time steps, but the bias is made for one"):
        check(net(np.array([1])))


def layer(weights, high: int = 1, kind: str = "events", **changes) -> Graph:
    """One dense layer on inputs from 0 to high, or from -high to 255 - high for an image."""
    weights = np.array(weights)
    inputs = weights.shape[1]
    zero = high if kind == "image" else 0
    bound = 255 if kind == "image" else high
    return Graph(
        (
            Input("input", kind, (inputs, 1, 1), 1, (zero,) * inputs, bound, 1.0),
            Flatten("flat", "input"),
            Spiking("layer", "flat", Dense(weights), fire(len(weights), **changes), None),
            Readout("out", "layer", np.ones((1, len(weights)), int), np.array([0]), 1.0, 1),
        )
    )


def test_the_bound_of_a_layer_is_exact_to_the_last_integer():
    # |A| <= 3 * 255 + 2 * 0, |U leak| = 7, rounding: what is left of 32 bits, and one more.
    weights = [[3, -2]]
    left = INT32 - 7 - 3 * 255
    check(layer(weights, 255, rounding=np.array([[left]])))
    with pytest.raises(ValueError, match=f"layer: its sums can reach {INT32 + 1}, which does not fit 32 bits"):
        check(layer(weights, 255, rounding=np.array([[left + 1]])))


def test_signed_pixels_and_shifts_count():
    # Pixels from -200 to 55: the largest |A| is 200 * (1 + 3), shifted by 2.
    left = INT32 - 7 - (800 << 2)
    shift = np.array([2], np.uint8)
    check(layer([[1, 3]], 200, "image", shift=shift, rounding=np.array([[-left]])))
    with pytest.raises(ValueError, match=f"can reach {INT32 + 1}"):
        check(layer([[1, 3]], 200, "image", shift=shift, rounding=np.array([[-left - 1]])))


def test_stochastic_rounding_counts():
    left = INT32 - (7 << 3) - 2 - 15
    check(layer([[1, 1]], g=4, stochastic=True, rounding=np.array([[left]])))
    with pytest.raises(ValueError, match=f"can reach {INT32 + 1}"):
        check(layer([[1, 1]], g=4, stochastic=True, rounding=np.array([[left + 1]])))


def test_the_channel_that_is_too_large_is_the_one_that_counts():
    weights = [[1, 1], [127, 127]]
    check(layer(weights, 255, shift=np.array([21, 0], np.uint8)))
    with pytest.raises(ValueError, match="can reach"):
        check(layer(weights, 255, shift=np.array([0, 21], np.uint8)))


def test_sums_that_int64_could_not_hold_are_refused():
    nodes = [Input("input", "events", (1, 1, 4), 1, (0,), 255, 1.0)]
    for place in range(13):
        source = nodes[-1].name
        nodes.append(Pool(f"pool{place}", source, "sum", (1, 1), (1, 1)))
    graph = Graph(
        (*nodes, Flatten("flat", nodes[-1].name), Readout("out", "flat", np.ones((1, 4), int), np.zeros(1), 1.0, 1))
    )
    check(graph)
    wide = replace(nodes[0], shape=(1, 1 << 12, 1 << 13))
    over = Pool("over", "pool12", "sum", None, None)
    with pytest.raises(ValueError, match=r"over: sums over its windows can reach \d+, which does not fit 32 bits"):
        check(Graph((wide, *nodes[1:], over, Flatten("flat", "over"), graph.nodes[-1])))


def test_windows_that_would_not_fit_into_memory_are_refused():
    entry = Input("input", "events", (1, 4096, 4096), 1, (0,), 1, 1.0)
    wide = Convolution(np.ones((1, 1, 64, 64), int), (1, 1), (0, 0))
    with pytest.raises(ValueError, match=f"layer: its windows hold more than {limits.MOST_UNFOLDED} values"):
        check(Graph((entry, Spiking("layer", "input", wide, fire(1), None), GRAPH.nodes[-1])))


def test_all_membranes_together_are_limited():
    entry = Input("input", "events", (1, 4096, 4096), 1, (0,), 1, 1.0)
    one = Convolution(np.ones((1, 1, 1, 1), int), (1, 1), (0, 0))
    layers = [entry]
    for place in range(5):
        layers.append(Spiking(f"layer{place}", layers[-1].name, one, fire(1), None))
    ends = (Pool("pool", "layer4", "max", None, None), Flatten("flat", "pool"))
    last = Readout("out", "flat", np.ones((1, 1), int), np.array([0]), 1.0, 1)
    with pytest.raises(ValueError, match=r"the graph has 83886080 neurons; allowed: up to 67108864"):
        check(Graph((*layers, *ends, last)))


def test_weights_stay_packed_where_their_number_is_proof_enough():
    graph = everything()
    packed = Weight.of(np.ones((5, 2, 3, 3), int))
    weight = Weight(packed.shape, packed.grid, packed.bits, packed.planes)
    first = replace(graph.nodes[1], operator=Convolution(weight, (1, 1), (1, 1)))
    check(Graph((graph.nodes[0], first, *graph.nodes[2:])))
    assert "codes" not in weight.__dict__


@given(plan=plans())
@example_settings(max_examples=80)
@pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")
def test_what_can_be_lowered_passes_and_its_shapes_are_the_real_ones(plan):
    try:
        graph = lower(RandomNet(plan)).graph
    except ValueError:
        return
    values = check(graph)
    shapes: dict[str, tuple[int, ...]] = {graph.input.name: graph.input.shape}
    for node in graph.nodes[1:]:
        shapes[node.name] = oracle._shape(node, shapes)
    assert {name: value.shape for name, value in values.items()} == shapes


def test_nothing_that_runs_leaves_the_proved_range():
    graph = by_hand()
    assert oracle.bounds(graph)["hidden"] <= INT32
    check(graph)


def test_a_skip_on_a_vector_needs_no_map():
    nodes = layer([[1, -1], [1, 1]]).nodes
    joined = Spiking("joined", "layer", Dense(np.eye(2, dtype=int) * 2 - 1), fire(2, 2), PlainSkip("layer", 1, None, 1))
    check(Graph((*nodes[:3], joined, replace(nodes[3], source="joined"))))


def test_a_pool_without_a_stride_moves_by_its_kernel():
    pool = Pool("pool", "input", "sum", (3, 2), None)
    graph = Graph((replace(NODES["input"], zero_point=(0, 0)), pool, *last_of(2 * 2 * 3)))
    assert check(graph)["pool"].shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("kernel", "padding", "said"),
    [
        ((3, 3), (2, 1), "vertical padding is 2; allowed: 0 to 1"),
        ((3, 2), (1, 2), "horizontal padding is 2; allowed: 0 to 1"),
        ((3, 3), (-1, 0), "vertical padding is -1"),
        ((12, 3), (2, 1), "kernel height is 12"),
        (None, (1, 1), "kernel is missing, yet it has padding"),
    ],
)
def test_padding_of_pools_has_limits(kernel, padding, said):
    pool = Pool("pool", "input", "max", kernel, None, padding)
    with pytest.raises(ValueError, match=f"^pool: .*{said}"):
        check(Graph((replace(NODES["input"], zero_point=(0, 0)), pool, *last_of(2))))


def test_a_padded_pool_has_a_window_for_every_stride():
    pool = Pool("pool", "input", "sum", (3, 3), (2, 2), (1, 1))
    found = check(Graph((replace(NODES["input"], zero_point=(0, 0)), pool, *last_of(2 * 4 * 4))))["pool"]
    assert found.shape == (2, 4, 4)  # of 7 x 7
    assert found.range.high.tolist() == [9 * 255] * 2


def last_of(features: int) -> tuple[Flatten, Readout]:
    return Flatten("flat", "pool"), Readout("out", "flat", np.ones((1, features), int), np.array([0]), 1.0, 3)


def test_the_map_of_sums_has_limits_though_little_is_left_of_it():
    wide = Convolution(np.ones((60_000, 1, 1, 1), np.int8), (1, 1), (0, 0), Largest((4096, 4096), (1, 1)))
    entry = Input("input", "events", (1, 4096, 4096), 1, (0,), 1, 1.0)
    readout = Readout("readout", "flat", np.ones((1, 60_000), np.int8), np.zeros(1, int), 1.0, 1)
    with pytest.raises(ValueError, match=r"layer: 1 steps of shape \[60000, 4096, 4096\] are too large"):
        check(Graph((entry, Spiking("layer", "input", wide, fire(60_000), None), Flatten("flat", "layer"), readout)))
