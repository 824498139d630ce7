"""Saving and loading `.bsp` files: there and back, byte for byte, and what is refused."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from dataclasses import replace
from pathlib import Path

import independent_reader
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from safetensors import safe_open

from bitspike import IntegerNet, lower
from bitspike.cost.integers import bytes_of
from bitspike.integer import file
from bitspike.integer.container import pack, unpack
from bitspike.integer.file import About, Contents
from bitspike.integer.graph import Convolution, Flatten, Graph, Input, Largest, Pool, Readout, Spiking, WeightedSkip
from bitspike.integer.tables import narrow
from hand_graphs import by_hand, everything, fire, same
from strategies import RandomNet, plans

GOLDEN = Path(__file__).parent / "golden" / "by-hand.bsp"
ABOUT = About({"model": "by hand", "seed": 0}, {"test_accuracy": 1.0})


def signed(data: bytes) -> bytes:
    """The file with the checksum that its bytes have."""
    return data[:35] + hashlib.sha256(data[:35] + data[99:]).hexdigest().encode() + data[99:]


def changed(change) -> bytes:
    """The golden file with another header, its checksum right."""
    header, tensors = unpack(GOLDEN.read_bytes(), "golden")
    change(header)
    return pack(header, tensors)


def test_the_golden_file_is_still_what_is_written():
    assert file.to_bytes(Contents(by_hand(), ("a note",), ABOUT)) == GOLDEN.read_bytes()


def test_the_golden_file_is_still_read():
    found = file.load(GOLDEN)
    assert same(found.graph, by_hand())
    assert (found.notes, found.about) == (("a note",), ABOUT)


def test_an_independent_reader_computes_the_page_s_network():
    header, tensors = independent_reader.read(GOLDEN.read_bytes())
    steps = np.array([[1, 0], [0, 0], [1, 0], [0, 4], [0, 2]])
    assert independent_reader.run_dense(header, tensors, steps).tolist() == [341, -5]
    assert header["results"] == {"test_accuracy": 1.0}


def test_constants_that_end_with_zeros_are_stored_without_them(tmp_path):
    """The page's network with all constants times 2^9: one byte each instead of two, and version 2."""
    plain = file.from_bytes(GOLDEN.read_bytes(), "it")
    wide = [
        replace(node, fire=replace(node.fire, threshold=node.fire.threshold << 9, rounding=node.fire.rounding << 9))
        if isinstance(node, Spiking)
        else node
        for node in plain.graph.nodes
    ]
    contents = Contents(Graph(tuple(wide)))
    header, tensors = independent_reader.read(file.to_bytes(contents))
    fires = [node["fire"] for node in header["graph"] if node["node"] == "spiking"]
    assert header["version"] == 2
    assert all(fire["table_shift"] >= 9 for fire in fires)
    assert all(tensors[fire["threshold"]].dtype.itemsize == 1 for fire in fires)
    file.save(tmp_path / "a.bsp", contents)
    assert same(file.load(tmp_path / "a.bsp").graph, contents.graph)
    steps = np.array([[1, 0], [0, 3], [1, 2], [4, 4], [0, 1]])
    found = independent_reader.run_dense(header, tensors, steps)
    inputs = steps.astype(np.uint8).reshape(5, 1, 2, 1, 1)
    assert IntegerNet(contents.graph).on("reference").predict(inputs)[0].tolist() == found.tolist()
    assert bytes_of(wide[2].fire) < bytes_of(replace(wide[2].fire, threshold=wide[2].fire.threshold + 1))


def test_windows_of_sums_are_stored_and_need_the_third_version(tmp_path):
    first = Convolution(np.ones((3, 2, 1, 1), int), (1, 1), (0, 0), Largest((2, 1), (2, 3)))
    flat = Flatten("flat", "layer")
    readout = Readout("readout", "flat", np.ones((2, 3 * 2 * 2), int), np.zeros(2, int), 0.5, 2)
    entry = Input("input", "image", (2, 4, 4), 2, (0, 0), 255, 1.0)
    contents = Contents(Graph((entry, Spiking("layer", "input", first, fire(3), None), flat, readout)))
    header, _ = independent_reader.read(file.to_bytes(contents))
    assert header["version"] == 3
    assert header["graph"][1]["operator"]["largest"] == {"kernel": [2, 1], "stride": [2, 3]}
    file.save(tmp_path / "a.bsp", contents)
    assert same(file.load(tmp_path / "a.bsp").graph, contents.graph)


def test_padded_pools_are_stored_and_need_the_third_version(tmp_path):
    pool = Pool("pool", "input", "max", (3, 3), (2, 2), (1, 0))
    readout = Readout("readout", "flat", np.ones((2, 4), int), np.zeros(2, int), 0.5, 2)
    entry = Input("input", "image", (2, 4, 4), 2, (0, 0), 255, 1.0)
    contents = Contents(Graph((entry, pool, Flatten("flat", "pool"), readout)))
    header, _ = independent_reader.read(file.to_bytes(contents))
    assert header["version"] == 3
    assert header["graph"][1]["padding"] == [1, 0]
    file.save(tmp_path / "a.bsp", contents)
    assert same(file.load(tmp_path / "a.bsp").graph, contents.graph)
    flat = replace(pool, padding=(0, 0), stride=None, kernel=(2, 2))
    readout = replace(readout, weight=np.ones((2, 8), int))
    header, _ = independent_reader.read(file.to_bytes(Contents(Graph((entry, flat, Flatten("flat", "pool"), readout)))))
    assert header["version"] == 1
    assert "padding" not in header["graph"][1]


@pytest.mark.parametrize("shift", [-1, 31, 2.0, True, 30])
def test_shifts_of_constants_that_leave_32_bits_are_refused(shift):
    def shifted(header):
        header["version"] = 2
        fire = next(node["fire"] for node in header["graph"] if node["node"] == "spiking")
        fire["table_shift"] = shift

    with pytest.raises(ValueError, match=r"table_shift"):
        file.from_bytes(changed(shifted), "it")


def test_an_independent_reader_unpacks_every_grid():
    graph = everything()
    header, tensors = independent_reader.read(file.to_bytes(Contents(graph)))
    grids = set()
    for plain, node in zip(header["graph"], graph.nodes, strict=True):
        if plain["node"] == "spiking":
            weight = plain["operator"]["weight"]
            grids.add(weight["grid"])
            assert np.array_equal(independent_reader.codes(weight, tensors), node.operator.weight.codes)
    assert grids == {"binary", "odd", "signed"}


def test_every_kind_of_node_there_and_back(tmp_path):
    graph = everything()
    contents = Contents(graph, ("one", "two"), About({"a": [1, None]}, {"b": 0.5}, {"c": "d"}))
    file.save(tmp_path / "a.bsp", contents)
    found = file.load(tmp_path / "a.bsp")
    assert same(found.graph, graph)
    assert (found.notes, found.about) == (contents.notes, contents.about)
    assert file.to_bytes(found) == (tmp_path / "a.bsp").read_bytes()


@given(plan=plans())
@example_settings(max_examples=60)
@pytest.mark.filterwarnings("ignore:.*never leak:UserWarning")
def test_every_network_that_can_be_lowered_can_be_saved_and_loaded(plan):
    try:
        net = lower(RandomNet(plan))
    except ValueError:
        return
    data = file.to_bytes(Contents(net.graph, net.notes))
    found = file.from_bytes(data, "it")
    assert same(found.graph, net.graph)
    assert file.to_bytes(found) == data


def test_loading_leaves_the_weights_packed_and_other_arrays_writable():
    graph = file.load(GOLDEN).graph
    layer = graph.spiking[0]
    assert "codes" not in layer.operator.weight.__dict__
    assert layer.fire.threshold.dtype == layer.fire.rounding.dtype == graph.readout.bias.dtype == np.int32
    assert layer.fire.shift.dtype == np.uint8
    assert layer.fire.threshold.flags.writeable and graph.readout.bias.flags.writeable


def test_a_resnet19_of_one_bit_is_small_and_loads_packed(tmp_path):
    from bitspike import create_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = lower(create_model("resnet19", spec="1w2u")).graph
    file.save(tmp_path / "resnet19.bsp", Contents(graph))
    assert (tmp_path / "resnet19.bsp").stat().st_size <= 1_750_000
    found = file.load(tmp_path / "resnet19.bsp").graph
    weights = [node.operator.weight for node in found.spiking] + [found.readout.weight]
    weights += [node.skip.operator.weight for node in found.spiking if isinstance(node.skip, WeightedSkip)]
    assert sum(math.prod(weight.shape) for weight in weights) > 12_000_000
    assert not any("codes" in weight.__dict__ for weight in weights)
    assert same(found, graph)


def test_safetensors_reads_it_too(tmp_path):
    file.save(tmp_path / "a.bsp", Contents(everything()))
    _, tensors = independent_reader.read((tmp_path / "a.bsp").read_bytes())
    with safe_open(tmp_path / "a.bsp", "np") as opened:
        names = list(opened.keys())
        assert set(names) == set(tensors)
        for name in names:
            assert np.array_equal(opened.get_tensor(name), tensors[name])


def test_integers_lie_at_their_narrowest_width_and_aligned():
    data = file.to_bytes(Contents(everything()))
    _, tensors = unpack(data, "it")
    assert tensors["second/threshold"].dtype == np.int32
    assert tensors["second/rounding"].dtype == np.uint8
    assert tensors["second/skip.channel_map"].dtype == np.int8
    assert tensors["input/zero_point"].tolist() == [3, 250]
    assert all(tensor.flags.aligned for tensor in tensors.values())


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [
        (0, 255, np.uint8),
        (-1, 127, np.int8),
        (-128, 0, np.int8),
        (-1, 128, np.int16),
        (0, 256, np.int16),
        (-(2**15), 2**15 - 1, np.int16),
        (0, 2**15, np.int32),
        (-(2**31), 2**31 - 1, np.int32),
    ],
)
def test_the_narrowest_width(low, high, dtype):
    found = narrow(np.array([low, high], np.int64))
    assert (found.dtype, found.tolist()) == (dtype, [low, high])


def test_the_order_of_a_header_s_keys_does_not_matter():
    one = file.to_bytes(Contents(by_hand(), (), About({"a": 1, "b": {"x": 1, "y": 2}})))
    other = file.to_bytes(Contents(by_hand(), (), About({"b": {"y": 2, "x": 1}, "a": 1})))
    assert one == other


def test_every_flipped_bit_is_refused():
    data = GOLDEN.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"^it is "):
                file.from_bytes(bytes(damaged), "it")


def test_every_truncated_file_and_every_longer_one_is_refused():
    data = GOLDEN.read_bytes()
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"^it is "):
            file.from_bytes(data[:length], "it")
    with pytest.raises(ValueError, match="damaged"):
        file.from_bytes(data + b"\0", "it")
    with pytest.raises(ValueError, match="fill 19 bytes, but the file holds 20"):
        file.from_bytes(signed(data + b"\0"), "it")


def test_what_kind_of_damage_is_told(tmp_path):
    data = bytearray(GOLDEN.read_bytes())
    path = tmp_path / "x.bsp"
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"x\.bsp is truncated or damaged: its checksum does not hold; copy it again"):
        file.load(path)
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.bsp is damaged: its checksum does not hold; copy it again"):
        file.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"x\.bsp is no bitspike integer network \(\.bsp\)"):
        file.load(path)
    with pytest.raises(FileNotFoundError, match=r"there is no file .*y\.bsp; give the path of an integer network"):
        file.load(tmp_path / "y.bsp")


def test_a_newer_version_is_named_before_anything_else_is_read():
    def newer(header):
        header.update(version=4, graph="of another kind")

    with pytest.raises(ValueError, match=r"has version 4 of the \.bsp format, .* reads up to 3; update bitspike"):
        file.from_bytes(changed(newer), "it")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format="bitspike model"), "its header does not say so"),
        (lambda h: h.update(version=True), "its header does not say so"),
        (lambda h: h.pop("notes"), "the key 'notes' of its header is missing"),
        (lambda h: h.update(extra=1), "the key 'extra' of its header is unknown"),
        (lambda h: h.update({"x" * 99: 1}), "the key 'x{40}' of its header is unknown"),
        (lambda h: h["graph"][0].update({"x" * 99: 1}), "input: the key 'x{40}' is unknown"),
        (lambda h: h.update(notes=["\x1b[2J"]), "no list of printable texts"),
        (lambda h: h.update(provenance=[]), "its provenance is no object"),
        (lambda h: h.update(certificate=3), "its certificate is no object"),
        (lambda h: h.update(graph={}), "its graph is no list"),
        (lambda h: h["graph"].append(3), "node 4 is no object"),
        (lambda h: h["graph"][1].update(node="lambda"), "node 1: node is not one of input, spiking"),
        (lambda h: h["graph"][1].update(name="\n"), "node 1: name is not of 1 to 200 printable"),
        (lambda h: h["graph"][1].update(name="x" * 201), "node 1: name is not of 1 to 200 printable"),
        (lambda h: h["graph"][0].pop("bound"), "input: the key 'bound' is missing"),
        (lambda h: h["graph"][0].update(bound=4.0), "input: bound is no whole number"),
        (lambda h: h["graph"][0].update(bound=True), "input: bound is no whole number"),
        (lambda h: h["graph"][0].update(bound=10**30), "input: bound is no whole number"),
        (lambda h: h["graph"][0].update(scale=10**400), "input: scale is no finite number"),
        (lambda h: h["graph"][0].update(scale=0), "input: scale is no finite number"),
        (lambda h: h["graph"][0].update(shape=[2, 1]), "input: shape is no list of 3"),
        (lambda h: h["graph"][0].update(zero_point="hidden/shift"), "names no tensor, or one that is used already"),
        (lambda h: h["graph"][0].update(zero_point="hidden/rounding"), "zero_point has 2 axes, not 1"),
        (lambda h: h["graph"][2]["fire"].update(stochastic=1), "hidden: fire: stochastic is neither true nor false"),
        (lambda h: h["graph"][2].update(fire=None), "hidden: fire is no object"),
        (lambda h: h["graph"][2]["operator"]["weight"].update(bits=2), "hidden: operator: weight: weights lie on"),
        (lambda h: h["graph"][2]["operator"]["weight"].update(shape=[2**20, 2**20]), "weights in all"),
        (lambda h: h["graph"][2]["operator"]["weight"].update(shape=[1, 2]), "after the last weight are not all zero"),
        (lambda h: h["graph"][2].update(skip={"skip": "plain"}), "hidden: skip: the key 'bound' is missing"),
        (lambda h: h["graph"].pop(1), "hidden: it reads 'flatten', which is no node before it"),
        (lambda h: h["graph"].pop(2), "tensor 'hidden/weight' belongs to no node"),
    ],
)
def test_headers_that_are_wrong_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        file.from_bytes(changed(change), "it")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"dtype":"I8"', b'"dtype":"F8"', "'readout/bias' has an unknown dtype"),
        (b'"shape":[2]', b'"shape":[3]', "does not lie where the one before it ends"),
        (b'"shape":[2,1]', b'"shape":[2,0]', "no shape of one or two sizes above 0"),
        (b"[17,19]", b"[16,19]", "'readout/bias' does not lie where"),
        (b"[17,19]", b"[17,91]", "'readout/bias' does not lie where"),
        (b'"hidden/shift":{', b'"hidden/weight":{', "its table cannot be read"),
        (b'"dtype":"I8"', b'"dtyqe":"I8"', "not described by dtype, shape and data_offsets"),
        (b'\\"scale\\":1.0', b'\\"scale\\":NaN', "its table cannot be read"),
        (b'"bitspike":', b'"bitspoke":', "its table cannot be read"),
    ],
)
def test_tables_that_are_wrong_are_refused(old, new, message):
    data = GOLDEN.read_bytes()
    assert old in data
    text = data.replace(old, new, 1)
    text = (len(text) - len(data) + int.from_bytes(data[:8], "little")).to_bytes(8, "little") + text[8:]
    with pytest.raises(ValueError, match=message):
        file.from_bytes(signed(text), "it")


def test_a_deeply_nested_header_is_refused():
    data = GOLDEN.read_bytes()
    deep = data[8:99] + b'","bitspike":' + b"[" * 100_000
    text = (len(deep)).to_bytes(8, "little") + deep
    with pytest.raises(ValueError, match="its table cannot be read"):
        file.from_bytes(signed(text), "it")


def test_provenance_has_a_depth_that_can_be_walked_through():
    def nested(depth):
        value = 0
        for _ in range(depth):
            value = [value]
        return value

    data = file.to_bytes(Contents(by_hand(), (), About({"a": nested(62)})))
    assert file.from_bytes(data, "it").about.provenance == {"a": nested(62)}
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        file.to_bytes(Contents(by_hand(), (), About({"a": nested(63)})))
    header, tensors = unpack(data, "it")
    for depth in (63, 400, 900):
        header["results"] = {"a": nested(depth)}
        with pytest.raises(ValueError, match=r"nested deeper than 64 levels|cannot be read"):
            file.from_bytes(pack(header, tensors), "it")


def test_a_certificate_is_replaced_without_touching_the_rest(tmp_path):
    path = tmp_path / "a.bsp"
    file.save(path, Contents(everything(), ("note",), ABOUT))
    before = file.load(path)
    file.replace_certificate(path, {"samples": 3})
    assert file.load(path).about == About(ABOUT.provenance, ABOUT.results, {"samples": 3})
    file.replace_certificate(path, None)
    assert path.read_bytes() == file.to_bytes(before)
    assert [found.name for found in tmp_path.iterdir()] == ["a.bsp"]


def test_what_cannot_be_a_header_is_refused_and_the_old_file_stays(tmp_path):
    path = tmp_path / "a.bsp"
    file.save(path, Contents(by_hand()))
    before = path.read_bytes()
    for wrong in (float("nan"), object(), {1, 2}, b"bytes"):
        with pytest.raises(ValueError, match="plain data only"):
            file.save(path, Contents(by_hand(), (), About({"a": wrong})))
    with pytest.raises(ValueError, match="put less into provenance"):
        file.save(path, Contents(by_hand(), (), About({"a": "x" * (5 << 20)})))
    with pytest.raises(ValueError, match="printable"):
        file.save(path, Contents(by_hand(), ("\n",)))
    with pytest.raises(ValueError, match=r"header comes to .* bytes, allowed are .* or certificate"):
        file.replace_certificate(path, {"a": "x" * (5 << 20)})
    deep: dict = {}
    for _ in range(70):
        deep = {"a": deep}
    with pytest.raises(ValueError, match="nested deeper than 64 levels"):
        file.replace_certificate(path, deep)
    assert path.read_bytes() == before


def test_numbers_of_numpy_are_numbers(tmp_path):
    file.save(tmp_path / "a.bsp", Contents(by_hand(), (), About({"a": np.int64(3), "b": np.float32(0.5)})))
    assert file.load(tmp_path / "a.bsp").about.provenance == {"a": 3, "b": 0.5}


def test_files_are_told_by_their_suffix_or_their_beginning(tmp_path):
    (tmp_path / "renamed").write_bytes(GOLDEN.read_bytes())
    (tmp_path / "other").write_text(json.dumps({"no": "network"}))
    assert file.is_network_file(tmp_path / "renamed")
    assert file.is_network_file(tmp_path / "not there.bsp")
    assert not file.is_network_file(tmp_path / "other")
    assert not file.is_network_file(tmp_path)


@pytest.mark.parametrize("about", [About(None), About([1]), About(results="good"), About(certificate=[])])
def test_what_could_not_be_loaded_again_is_not_written(about, tmp_path):
    with pytest.raises(ValueError, match="is no object"):
        file.save(tmp_path / "a.bsp", Contents(by_hand(), (), about))
    assert not any(tmp_path.iterdir())
