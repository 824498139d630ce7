import json

import numpy as np
import pytest
from stdp_samples import assert_same_state, images, small

from bitspike.integer.container import kind_of, with_header
from bitspike.runtime import IntegerNet
from bitspike.stdp import StdpBits, StdpNetwork, load, save
from bitspike.stdp.file import KIND, is_stdp_file, load_state, save_state, to_bytes


def trained(bits) -> StdpNetwork:
    network = StdpNetwork(small(bits=bits))
    pixels = images(30, 49)
    network.learn(pixels)
    network.assign_labels(pixels, np.arange(30) % 3, 3)
    network.about = {"results": {"test_accuracy": 0.5}}
    return network


@pytest.mark.parametrize("bits", [None, *(StdpBits(weight) for weight in (1, 3, 4, 8, 11, 16))])
def test_saved_and_loaded(bits, tmp_path):
    network = trained(bits)
    save(network, tmp_path / "net.bsp")
    found = load(tmp_path / "net.bsp")
    assert found.config == network.config
    assert found.about == network.about
    assert_same_state(found.state, network.state)
    np.testing.assert_array_equal(found.labels.label, network.labels.label)
    np.testing.assert_array_equal(found.predict(images(20, 49)), network.predict(images(20, 49)))
    assert to_bytes(found, KIND) == to_bytes(network, KIND)


def test_what_is_loaded_goes_on_learning(tmp_path):
    network = trained(StdpBits(4))
    save(network, tmp_path / "net.bsp")
    found = load(tmp_path / "net.bsp")
    np.testing.assert_array_equal(found.learn(images(9, 49)), network.learn(images(9, 49)))
    assert_same_state(found.state, network.state)


def test_weights_take_their_bits():
    small_file, large_file = (len(to_bytes(StdpNetwork(small(neurons=200, bits=StdpBits(b))), KIND)) for b in (4, 8))
    assert large_file - small_file == pytest.approx(49 * 200 * 4 / 8, abs=16)


def test_other_kinds_are_named(tmp_path):
    path = tmp_path / "net.bsp"
    save(trained(None), path)
    assert kind_of(path) == KIND
    assert is_stdp_file(path)
    with pytest.raises(ValueError, match="is a bitspike STDP network, not a bitspike integer network"):
        IntegerNet.load(path)
    with pytest.raises(ValueError, match="is a bitspike STDP network, not a bitspike STDP state"):
        load_state(path)
    save_state(path, trained(None), {}, {})
    with pytest.raises(ValueError, match="is a bitspike STDP state, not a bitspike STDP network"):
        load(path)
    path.write_bytes(b"no such file" * 20)
    assert kind_of(path) is None
    with pytest.raises(ValueError, match="is no bitspike STDP network"):
        load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "none.bsp")
    assert kind_of(tmp_path / "none.bsp") is None


def test_an_integer_network_is_named(tmp_path):
    from bitspike.integer.container import pack

    path = tmp_path / "net.bsp"
    path.write_bytes(pack({"format": "bitspike integer network", "version": 1}, {"a": np.zeros((1, 1), np.uint8)}))
    with pytest.raises(ValueError, match="is a bitspike integer network, not a bitspike STDP network; `bitspike eval"):
        load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"neurons": 12}}, "where|shape|packed"),
        ({"config": {"neurons": 0}}, "neurons is 0"),
        ({"images": -1}, "cannot be read"),
        ({"config": {"bits": {"weight": 3}}}, "packed"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change, said, tmp_path):
    data = to_bytes(trained(StdpBits(4)), KIND)
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8:size])["__metadata__"]["bitspike"])
    header["config"] |= change.pop("config", {})
    path = tmp_path / "net.bsp"
    path.write_bytes(with_header(data, header | change))
    with pytest.raises(ValueError, match=f"holds no network that could be run: .*({said})"):
        load(path)


def test_a_newer_version_is_named(tmp_path):
    data = to_bytes(trained(StdpBits(4)), KIND)
    size = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8:size])["__metadata__"]["bitspike"])
    (tmp_path / "net.bsp").write_bytes(with_header(data, header | {"version": 2}))
    with pytest.raises(ValueError, match=r"has version 2 .* reads up to 1; update bitspike"):
        load(tmp_path / "net.bsp")


def test_every_damaged_byte_is_noticed(tmp_path):
    data = bytearray(to_bytes(trained(StdpBits(2)), KIND))
    path = tmp_path / "net.bsp"
    for place in np.random.default_rng(0).integers(8, len(data), 40):
        damaged = bytearray(data)
        damaged[place] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(ValueError, match="bsp"):
            load(path)


def test_double_precision_is_not_saved():
    from bitspike.stdp.state import initial_state

    config = small()
    with pytest.raises(TypeError, match="only float32"):
        to_bytes(StdpNetwork(config, initial_state(config, np.float64)), KIND)
