"""`export_nir` and `read_nir`: the integers come back whole, and the nodes' own values are the network's real ones."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from bitspike import IntegerNet, create_model, export_nir, import_nir, lower, read_nir
from bitspike.imports import compare_nir
from bitspike.imports.from_nir import bound_told
from bitspike.integer.check import check
from bitspike.integer.file import About
from bitspike.integer.graph import (
    Convolution,
    Dense,
    Fire,
    Flatten,
    Graph,
    Input,
    Largest,
    Node,
    PlainSkip,
    Pool,
    Readout,
    Spiking,
    WeightedSkip,
)
from bitspike.nir import CannotExport
from bitspike.nir.metadata import KEY, WEIGHT_KEY
from bitspike.nir.nodes import nir_graph
from hand_graphs import by_hand, fire, same
from needed_tools import need_module
from networks import ImageNet, images
from strategies import Plan, RandomNet, plans
from varied_graphs import varied_graph, varied_samples

nir = pytest.importorskip("nir", reason="nir is not installed: pip install 'bitspike[nir]'")
DT = 1e-4
MODELS = Path(__file__).parents[2] / "models"
MOST_LEVELS = 2**15 - 1


def written_and_read(graph: Graph) -> Any:
    held = io.BytesIO()
    nir.write(held, nir_graph(graph, DT))
    return nir.read(held)


def test_the_network_computed_by_hand_is_the_real_one_again():
    """a, d of docs/explanation/integer-form.md: 0.8, 0.05 and 0.2, 0.11, the latter down to a whole unit of I.

    Leak 1/2 lets half of the input in, so W is 1.6 and 0.4, and b is 0.1; r - 1/2 = 1.5 of 10 units gives 0.3 for 0.22.
    """
    found = written_and_read(by_hand())
    hidden, neurons, readout = (found.nodes[name] for name in ("hidden", "hidden_neurons", "readout"))
    assert np.array_equal(hidden.weight, np.float32([[1.6, 1.6], [-0.4, 0.4]]))
    assert np.array_equal(hidden.bias, np.float32([0.1, 0.3]))
    assert np.array_equal(neurons.tau, np.float32([2e-4, 2e-4]))
    for field, value in (("r", 1), ("v_threshold", 1), ("v_leak", 0), ("v_reset", 0)):
        assert np.array_equal(getattr(neurons, field), [value, value])
    assert np.array_equal(readout.weight, np.float32([[1.27, -0.5], [-0.3, 0.9]]))
    assert np.array_equal(readout.bias, np.float32([0.02, -0.01]))
    assert found.nodes["output"].output_type["output"].tolist() == [2]


def test_the_network_computed_by_hand_fires_as_told_there():
    net = IntegerNet(by_hand())
    samples = np.array([[1, 0], [0, 0], [1, 0], [0, 4], [0, 2]], np.uint8).reshape(5, 1, 2, 1, 1)
    found = compare_nir(written_and_read(net.graph), net, samples, dt=DT)
    assert found.layers[0].firing == 0.4  # 3 and 1 spikes of 2 x 5
    assert (found.agreeing, found.classes.tolist()) == (1.0, [0])


@settings(max_examples=40)
@given(plans())
def test_lowered_networks_come_back_whole(plan: Plan) -> None:
    try:
        graph = lower(RandomNet(plan).eval()).graph
    except ValueError as error:
        assert "32 bits" in str(error)
        return
    comes_back_or_is_refused(graph)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_networks_of_everything_come_back_whole(seed: int) -> None:
    comes_back_or_is_refused(varied_graph(seed))


def comes_back_or_is_refused(graph: Graph) -> None:
    try:
        found = written_and_read(graph)
    except CannotExport as error:
        name = str(error).split(" ")[0]
        event("refused")
        assert has_no_nodes(graph, name)
        return
    event("whole")
    assert same(read_nir(found).graph, graph)
    for name, weight in weights_of(graph).items():  # what a reader has to do who wants the integers alone
        node = found.nodes[name]
        told = node.metadata[WEIGHT_KEY]
        values = node.weight.astype(np.float64).reshape(len(node.weight), -1) / told["scale"][:, None]
        middle = cut(np.rint(values).reshape(node.weight.shape), weight.shape)
        assert np.array_equal(middle, weight.codes)
        assert (told["bits"], told["grid"]) == (weight.bits, weight.grid)


def has_no_nodes(graph: Graph, name: str) -> bool:
    """Whether NIR really lacks what a layer does."""
    node = next(
        node for node in graph.nodes if node.name.replace(".", "_") == name.removesuffix("_skip").replace(".", "_")
    )
    if isinstance(node, Pool):
        return node.kind == "max"
    if not isinstance(node, Spiking):
        return all(name not in sources(other) for other in graph.nodes)
    operators = [node.operator] + ([node.skip.operator] if isinstance(node.skip, WeightedSkip) else [])
    found = [each for each in operators if isinstance(each, Convolution)]
    kernels = [each.weight.shape[2:] for each in found]
    unread = all(node.name not in sources(other) for other in graph.nodes)
    return unread or any(each.largest for each in found) or any((high - wide) % 2 for high, wide in kernels)


def sources(node: Node) -> tuple[str, ...]:
    skip = getattr(node, "skip", None)
    return tuple(filter(None, (getattr(node, "source", None), skip and skip.source)))


def weights_of(graph: Graph) -> dict[str, Any]:
    found = {node.name: node.operator.weight for node in graph.spiking} | {graph.readout.name: graph.readout.weight}
    side = {f"{n.name}_skip": n.skip.operator.weight for n in graph.spiking if isinstance(n.skip, WeightedSkip)}
    return {name.replace(".", "_"): weight for name, weight in (found | side).items()}


def cut(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Without the zeros around a kernel that is not square."""
    if len(shape) == 2:
        return values
    top, left = ((values.shape[axis] - shape[axis]) // 2 for axis in (2, 3))
    inner = values[..., top : top + shape[2], left : left + shape[3]]
    assert np.abs(values).sum() == np.abs(inner).sum()
    return inner


def unrounded(channels: int, columns: int = 1, **changes: Any) -> Fire:
    """Neurons that keep everything, in whole numbers and far from their levels: NIR's own."""
    wanted = {
        "leak": 1,
        "leak_exponent": 0,
        "g": 0,
        "levels": MOST_LEVELS,
        "rounding": np.zeros((channels, columns), int),
    }
    return fire(channels, columns, **(wanted | changes))


def test_neurons_that_neither_leak_nor_round_fire_as_in_nir():
    """Through every kind of pooling, window and skip, offsets and shifts: not one spike differs."""
    numbers = np.random.default_rng(0)

    def weights(*shape: int) -> np.ndarray:
        return numbers.integers(-7, 8, shape)

    # A spike of the skip is worth 5: it lowers the threshold and raises what is stored.
    lifted = {"threshold": np.array([[40, 35]] * 6), "rounding": np.array([[-2, 3]] * 6)}
    offsets = {"threshold": np.arange(20, 24)[:, None], "rounding": np.arange(-1, 3)[:, None]}
    shifts = np.array([0, 1, 2, 0], np.uint8)
    graph = Graph(
        (
            Input("in", "events", (2, 8, 9), 5, (0, 0), 3, 1.0),
            Spiking("a.0", "in", Convolution(weights(4, 2, 3, 1), (1, 1), (1, 0)), unrounded(4, **offsets), None),
            Pool("or", "a.0", "max", (3, 3), (2, 2), (1, 1)),
            Spiking("b", "or", Convolution(weights(6, 4, 3, 3), (1, 1), (1, 1)), unrounded(6, 2, **lifted),
                    PlainSkip("or", 1, (0, 1, 2, 3, -1, 0), 1)),
            Pool("sum", "b", "sum", (2, 2), (1, 2)),
            Spiking("c", "sum", Convolution(weights(4, 6, 1, 1), (1, 1), (0, 0)),
                    unrounded(4, shift=shifts, threshold=np.full((4, 1), 60)),
                    WeightedSkip("sum", Convolution(weights(4, 6, 1, 1), (1, 1), (0, 0)), shifts + 1)),
            Pool("all", "c", "sum", None, None),
            Flatten("flat", "all"),
            Spiking("d", "flat", Dense(weights(7, 4)), unrounded(7, threshold=np.full((7, 1), 9)), None),
            Readout("out", "d", weights(3, 7), np.array([5, -9, 2]), 0.25, 5),
        )
    )  # fmt: skip
    check(graph)
    net = IntegerNet(graph)
    samples = numbers.integers(0, 4, (5, 20, 2, 8, 9)).astype(np.uint8)
    found = compare_nir(written_and_read(graph), net, samples, dt=DT, batch=8)
    assert [layer.differing for layer in found.layers] == [0, 0, 0, 0]
    assert all(0.05 < layer.firing < 0.9 for layer in found.layers), found.layers
    assert found.agreeing == 1
    assert np.array_equal(found.classes, net.predict(samples).argmax(1))


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_random_networks_of_such_neurons_fire_as_in_nir(seed: int) -> None:
    graph = varied_graph(seed, channels=(1, 2, 5))
    numbers = np.random.default_rng(seed)
    nodes = [replace(node, fire=like_nir(node, numbers)) if isinstance(node, Spiking) else node for node in graph.nodes]
    graph = Graph(tuple(nodes))
    try:
        check(graph)
        found = written_and_read(graph)
    except ValueError:
        event("refused")
        return
    samples, net = varied_samples(graph, 3, seed), IntegerNet(graph)
    if any((np.abs(each) == MOST_LEVELS).any() for each in net.runner.run(samples).membranes.values()):
        event("clamped")
        return
    nearness = compare_nir(found, net, samples, dt=DT)
    event(f"fires: {any(layer.firing for layer in nearness.layers)}")
    assert [(layer.name, layer.differing) for layer in nearness.layers if layer.differing] == []


def like_nir(node: Spiking, numbers: np.random.Generator) -> Fire:
    """Neurons that neither leak nor round, with thresholds of a size that sums have, and skips worth something."""
    channels = len(node.operator.weight)
    counts = np.arange(node.skip.bound + 1 if isinstance(node.skip, PlainSkip) else 1)
    reach = int(np.abs(node.operator.weight.codes.astype(int)).reshape(channels, -1).sum(1).max())
    worth = numbers.integers(0, 9, (channels, 1))
    offset = numbers.integers(-2, 3, (channels, 1))
    threshold = numbers.integers(1, 2 * reach + 2, (channels, 1)) - offset
    changes = {
        "shift": node.fire.shift * 0,
        "threshold": threshold - worth * counts,
        "rounding": offset + worth * counts,
    }
    return unrounded(channels, len(counts), **changes)


def test_pixels_are_told_from_0_to_1_less_their_mean():
    weight = np.random.default_rng(1).integers(-7, 8, (4, 2, 3, 3))
    layer = Spiking("a", "in", Convolution(weight, (1, 1), (1, 1)), unrounded(4, threshold=np.full((4, 1), 900)), None)
    flat = Flatten("flat", "a")
    readout = Readout("out", "flat", np.ones((2, 36), int), np.array([0, 1]), 1.0, 2)
    graph = Graph((Input("in", "image", (2, 3, 3), 2, (10, 200), 255, 1.0), layer, flat, readout))
    found = written_and_read(graph)
    pixels = np.random.default_rng(1).integers(0, 256, (9, 2, 3, 3)).astype(np.uint8)
    nearness = compare_nir(found, IntegerNet(graph), pixels, dt=DT)
    assert (nearness.layers[0].differing, nearness.agreeing) == (0, 1)
    assert 0.1 < nearness.layers[0].firing < 0.9
    assert found.nodes["in"].metadata[KEY]["zero_point"].tolist() == [10, 200]
    assert found.nodes["a"].weight[0, 0, 0, 0] == np.float32(255 * weight[0, 0, 0, 0] / 899.5)


def test_averages_of_rounding_are_in_the_bias():
    """Rounding to the nearest and by chance is right on average, floor lacks half a step, and the bias does."""
    nearest, floor = np.array([[8]]), np.array([[0]])
    for rounding, stochastic, lacking in ((nearest, False, -0.5), (floor, False, 7.5), (floor, True, 0)):
        layer = fire(1, rounding=rounding, threshold=np.array([[100]]), g=4, stochastic=stochastic)
        graph = replaced(by_hand(), "hidden", operator=Dense(np.ones((1, 2), int)), fire=layer)
        graph = replaced(graph, "readout", weight=np.ones((2, 1), int))
        node = nir_graph(graph, DT).nodes["hidden"]
        threshold = 2 / float(node.weight[0, 0])  # in units of I, where a spike weighs 1 and half of it comes in
        assert float(node.bias[0]) * threshold / 2 == pytest.approx(-lacking, abs=1e-5)


def replaced(graph: Graph, name: str, **changes: Any) -> Graph:
    return Graph(tuple(replace(node, **changes) if node.name == name else node for node in graph.nodes))


def test_a_file_is_the_network_with_all_that_is_known_of_it(tmp_path):
    about = About({"model": "mine", "recipe": {"seed": 1}}, {"test_accuracy": 0.5}, {"samples": 3})
    net = IntegerNet(lower(ImageNet("2w4u").eval()).graph, ("a note",), about)
    report = export_nir(net, tmp_path / "net.nir")
    found = read_nir(tmp_path / "net.nir")
    assert same(found.graph, net.graph)
    assert (found.notes, found.about) == (net.notes, about)
    assert report.bytes == (tmp_path / "net.nir").stat().st_size
    assert [name for name, _ in report.approximate] == [layer.name for layer in net.graph.spiking]
    found.save(tmp_path / "there.bsp")
    net.save(tmp_path / "here.bsp")
    assert (tmp_path / "there.bsp").read_bytes() == (tmp_path / "here.bsp").read_bytes()


def test_names_that_look_alike_stay_apart():
    """Files take fewer letters than layers may have; the layers get their own names back."""
    graph = by_hand()
    hidden, readout = graph.spiking[0], graph.readout
    names = ("a.b", "a_b", "a/b", "a_b_neurons", "output", "ä")
    layers, source = [], "flatten"
    for name in names:
        layers.append(replace(hidden, name=name, source=source, fire=fire(2, leak=0)))
        source = name
    whole = Graph((*graph.nodes[:2], *layers, replace(readout, source=source)))
    found = written_and_read(whole)
    assert same(read_nir(found).graph, whole)
    samples = np.random.default_rng(0).integers(0, 5, (5, 30, 2, 1, 1)).astype(np.uint8)
    nearness = compare_nir(found, IntegerNet(whole), samples, dt=DT)
    assert [layer.differing for layer in nearness.layers] == [0] * len(names)
    assert nearness.layers[0].firing > 0.1


def test_layers_without_a_membrane_are_exact(tmp_path):
    graph = replaced(by_hand(), "hidden", fire=fire(2, leak=0))
    report = export_nir(IntegerNet(graph), tmp_path / "net.nir", dt=0.5)
    assert report.approximate == ()
    samples = np.random.default_rng(0).integers(0, 5, (5, 30, 2, 1, 1)).astype(np.uint8)
    found = compare_nir(tmp_path / "net.nir", IntegerNet(graph), samples, dt=0.5)
    assert found.layers[0].differing == 0
    assert 0.1 < found.layers[0].firing < 0.9


def test_the_real_values_are_imported_as_a_network_to_train():
    """Max pooling, which NIR can tell only as neurons that fire where an average is not zero, is one again."""
    integers = lower(ImageNet("2w4u").eval())
    graph = written_and_read(integers.graph)
    net = import_nir(graph, 3, samples=images(8))
    assert not [name for layer in net.imported.layers for name in layer.sources if name.endswith("_or")]
    assert any(type(module).__name__ == "MaxPool" for module in net.modules())
    entry = next(module for module in net.modules() if type(module).__name__ == "ImageInput")
    assert tuple(entry.zero_point) == tuple(integers.graph.input.zero_point)
    given = import_nir(graph, 3, samples=images(8), mean=np.full(len(entry.zero_point), 0.2))  # stands above the file's
    entry = next(module for module in given.modules() if type(module).__name__ == "ImageInput")
    assert set(entry.zero_point) == {51}


def test_a_network_of_events_is_imported_as_one(tmp_path):
    options = {"classes": 3, "input_shape": (2, 16, 16), "time_steps": 4, "bound": 7, "widths": (4, 8)}
    integers = lower(create_model("small_events", spec="4w4u", **options).eval())
    export_nir(integers, tmp_path / "events.nir")
    net = import_nir(tmp_path / "events.nir", 4)
    assert type(net.input).__name__ == "EventInput"
    assert net.model_options["bound"] == bound_told(tmp_path / "events.nir") == 7
    assert import_nir(tmp_path / "events.nir", 4, bound=3).model_options["bound"] == 3  # stands above the file's
    with pytest.raises(ValueError, match="time_steps is 9; the file is of a network that takes 4, give those"):
        import_nir(tmp_path / "events.nir", 9)


def fails_with(function: Any, *words: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error) as found:
        function()
    assert all(word in str(found.value) for word in words), str(found.value)


def test_what_nir_has_no_nodes_for_is_refused_by_its_name(tmp_path):
    first = Spiking(
        "one", "in", Convolution(np.ones((1, 1, 3, 3), int), (1, 1), (1, 1), Largest((2, 2), (2, 2))), fire(1), None
    )
    readout = Readout("out", "flat", np.ones((2, 1), int), np.zeros(2, int), 1.0, 1)

    def attempt(*nodes: Node) -> Any:
        entry = Input("in", "events", (1, 4, 4), 1, (0,), 1, 1.0)
        net = IntegerNet(
            Graph((entry, *nodes, Pool("all", nodes[-1].name, "sum", None, None), Flatten("flat", "all"), readout))
        )
        return lambda: export_nir(net, tmp_path / "net.nir")

    fails_with(attempt(first), "one takes the largest sums")
    plain = replace(first, operator=Convolution(np.ones((1, 1, 3, 2), int), (1, 1), (1, 1)))
    fails_with(attempt(plain), "one has a kernel of 3 x 2")
    fails_with(attempt(Pool("p", "in", "max", (2, 2), (2, 2))), "p takes the largest of counts")
    square = replace(first, operator=Convolution(np.ones((1, 1, 3, 3), int), (1, 1), (1, 1)))
    fails_with(attempt(replace(square, name="aside"), square), "aside is read by nothing")
    assert not list(tmp_path.iterdir())


def test_wrong_words_are_refused_before_anything_is_written(tmp_path):
    net = IntegerNet(by_hand())
    for wrong in (0, -1, 1e-300, 1e300, float("nan")):
        fails_with(lambda wrong=wrong: export_nir(net, tmp_path / "net.nir", dt=wrong), f"dt is {wrong}")
    fails_with(lambda: export_nir(net, tmp_path / "net.bsp"), "net.bsp does not end like a NIR file")
    fails_with(lambda: read_nir(None), "not NoneType", error=TypeError)
    fails_with(lambda: export_nir(net, tmp_path), "is a folder")
    (tmp_path / "net.nir").write_text("mine")
    fails_with(lambda: export_nir(net, tmp_path / "net.nir"), "is there already")
    assert (tmp_path / "net.nir").read_text() == "mine"
    fails_with(lambda: read_nir(tmp_path / "net.nir"), "net.nir is not a readable NIR file")
    fails_with(lambda: read_nir(tmp_path / "no.nir"), "there is no file", error=FileNotFoundError)
    export_nir(net, tmp_path / "net.nir", overwrite=True)
    assert same(read_nir(tmp_path / "net.nir").graph, net.graph)


def test_foreign_and_damaged_files_are_refused(tmp_path):
    def changed(change: Any) -> Any:
        graph = written_and_read(by_hand())
        change({name: node.metadata for name, node in graph.nodes.items()})
        nir.write(tmp_path / "net.nir", graph)
        return lambda: read_nir(tmp_path / "net.nir")

    fails_with(changed(lambda held: [each.clear() for each in held.values()]), "hold no integers", "bitspike import")
    fails_with(changed(lambda held: held["flatten"].clear()), "a layer of its integers is missing")
    fails_with(changed(lambda held: held["flatten"][KEY].update(place=0)), "there twice")
    fails_with(changed(lambda held: held["flatten"][KEY].update(version=2)), "version 2")
    fails_with(changed(lambda held: held["flatten"].update({KEY: 1})), "is no object")
    fails_with(changed(lambda held: held["flatten"][KEY].update(place=0.5)), "place", "no whole number")
    fire_of = lambda held: held["hidden_neurons"][KEY]["fire"]  # noqa: E731
    fails_with(changed(lambda held: fire_of(held).update(levels=0)), "levels")
    fails_with(changed(lambda held: fire_of(held).pop("levels")), "levels")
    fails_with(changed(lambda held: fire_of(held).update(threshold=np.ones((2, 1)))), "2 x float64, not up to")
    fails_with(changed(lambda held: fire_of(held).update(threshold=np.ones((3, 1), int))), "hidden")


def test_small_files_that_stand_for_large_ones_are_refused(tmp_path):
    h5py = need_module("h5py")
    export_nir(IntegerNet(by_hand()), tmp_path / "good.nir")

    def changed(change: Any) -> Any:
        (tmp_path / "net.nir").write_bytes((tmp_path / "good.nir").read_bytes())
        with h5py.File(tmp_path / "net.nir", "a") as file:
            change(file["node"])
        return lambda: read_nir(tmp_path / "net.nir")

    link = h5py.ExternalLink("other.nir", "/node")
    large = {"shape": (1 << 32,), "dtype": "i2", "chunks": (1 << 20,)}
    again = changed(lambda node: node["nodes"].__setitem__("again", node["nodes"]["hidden"]))
    fails_with(again, "names one place twice")
    fails_with(changed(lambda node: node["nodes"].__setitem__("again", link)), "links to places elsewhere")
    fails_with(changed(lambda node: node.create_dataset("large", **large)), "larger than 4 GiB")
    fails_with(changed(lambda node: node.create_group("/".join("x" * 20))), "nested deeper than 16")


def test_what_a_file_says_of_the_network_decides_nothing(tmp_path):
    """Unreadable or endless: it is left out, and the network is there."""
    net = IntegerNet(by_hand())
    for told in ("[" * 100_000, '{"notes": [], "provenance": {"a": NaN}, "results": {}, "certificate": null}', 3, "{}"):
        graph = written_and_read(net.graph)
        graph.metadata[KEY] = {"version": 1, "about": told}
        found = read_nir(graph)
        assert same(found.graph, net.graph)
        assert found.about == About()
        found.save(tmp_path / "net.bsp")


def test_constants_that_were_held_in_reach_do_not_reach_their_neighbours():
    """A dead channel beside a plain skip stays dead: a spike is worth what it does to the threshold."""
    held = {"threshold": np.array([[512, 512], [8, 3]]), "rounding": np.array([[-767, 767], [0, 5]])}
    weights = np.random.default_rng(2).integers(-3, 8, (2, 2, 1, 1))
    skip = PlainSkip("in", 1, None, 1)
    graph = Graph(
        (
            Input("in", "events", (2, 5, 5), 4, (0, 0), 1, 1.0),
            Spiking("a", "in", Convolution(weights, (1, 1), (0, 0)), unrounded(2, 2, levels=127, **held), skip),
            Flatten("flat", "a"),
            Readout("out", "flat", np.ones((2, 50), int), np.zeros(2, int), 1.0, 4),
        )
    )
    samples = np.random.default_rng(0).integers(0, 2, (4, 20, 2, 5, 5)).astype(np.uint8)
    found = compare_nir(written_and_read(graph), IntegerNet(graph), samples, dt=DT)
    assert found.layers[0].differing == 0
    assert found.layers[0].firing > 0.05


def test_a_channel_that_fires_by_itself_has_a_threshold_of_its_own():
    graph = replaced(by_hand(), "hidden", fire=unrounded(2, threshold=np.array([[-3], [4]])))
    found = written_and_read(graph)
    assert np.array_equal(found.nodes["hidden_neurons"].v_threshold, [-1, 1])
    samples = np.random.default_rng(0).integers(0, 5, (5, 30, 2, 1, 1)).astype(np.uint8)
    nearness = compare_nir(found, IntegerNet(graph), samples, dt=DT)
    assert nearness.layers[0].differing == 0
    fails_with(lambda: compare_nir(found, IntegerNet(graph), samples[:, :0], dt=DT), "no samples")
    other = IntegerNet(lower(ImageNet("2w4u").eval()).graph)
    fails_with(lambda: compare_nir(found, other, images(2).numpy(), dt=DT), "not made from this network")


@pytest.mark.parametrize("model", ["qsnn-digits-1w2u", "qsnn-mnist-1w2u"])
def test_other_tools_read_the_same_network(model, tmp_path):
    """SpikingJelly and snnTorch, each by its own reader, give the outputs that NIR's equations give here."""
    need_module("nirtorch")
    torch = need_module("torch")
    reader = need_module("spikingjelly.activation_based.nir_exchange.from_nir")
    other = need_module("snntorch.import_nir")
    net = IntegerNet.load(MODELS / f"{model}.bsp")
    samples = np.random.default_rng(3).integers(0, 256, (3, *net.graph.input.shape)).astype(np.uint8)
    samples[:, :, :2] = 0
    export_nir(net, tmp_path / "net.nir")
    graph = nir.read(tmp_path / "net.nir")
    entering = torch.from_numpy(net.spikes(samples)["input"]).float() / 255
    with torch.no_grad():
        theirs, state = reader.import_from_nir(graph), None
        outputs = []
        for step in entering:
            found, state = theirs(step, state)
            outputs.append(found)
        theirs = other.import_from_nir(nir.read(tmp_path / "net.nir"))
        others = torch.stack([theirs(step)[0] for step in entering])
    logits = torch.stack(outputs).mean(0)
    expected = compare_nir(graph, net, samples, dt=DT)
    assert np.array_equal(logits.argmax(1).numpy(), expected.classes)
    assert torch.allclose(others.mean(0), logits, atol=1e-4)
    assert logits.abs().max() > 0.1
