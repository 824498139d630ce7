"""Model files: round trip, and refusals in one sentence."""

import json
import random

import pytest
import safetensors.torch
import torch
from torch import nn

from bitspike.lowering import lower
from bitspike.model import create_model
from bitspike.spec import QuantSpec
from bitspike.train.container import write_container
from bitspike.train.model_file import KIND, VERSION, ModelHeader, load_model, read_header, save_model

SPEC = QuantSpec.parse("1w2u")


def make_header() -> ModelHeader:
    options = {"widths": [4, 8], "mean": [0.3], "std": 0.21, "time_steps": 2, "classes": 3}
    return ModelHeader(
        "small8", options, SPEC.to_dict(), recipe={"name": "x"}, provenance={"seed": 1}, results={"test_accuracy": 0.5}
    )


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    net = create_model("small8", spec=SPEC, **make_header().options)
    path = tmp_path / "model.safetensors"
    save_model(net, path, make_header())
    return net, path


def test_round_trip_builds_the_same_network(saved):
    net, path = saved
    loaded, header = load_model(path)
    assert header == make_header() == read_header(path)
    assert not loaded.training
    for name, value in net.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(net.eval()(images), loaded(images))
    assert path.stat().st_size < 1_000_000


def test_a_network_of_ones_own_is_filled(saved):
    net, path = saved
    own = create_model("small8", spec=SPEC, **make_header().options)
    loaded, _ = load_model(path, own)
    assert loaded is own
    assert torch.equal(own.state_dict()["conv1.weight"], net.state_dict()["conv1.weight"])


def test_a_network_of_ones_own_is_quantized_as_the_file_says(saved):
    net, path = saved
    own = create_model("small8", spec="32w32u", **make_header().options)
    load_model(path, own)
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(own(images), net.eval()(images))
    assert lower(own).predict(images.numpy()).tolist() == lower(net).predict(images.numpy()).tolist()


def test_weights_that_do_not_fit(saved):
    _, path = saved
    with pytest.raises(ValueError, match=r"do not fit the network: .*conv2\.weight"):
        load_model(path, create_model("small8", widths=[4, 9], classes=3))
    with pytest.raises(ValueError, match=r"1 missing .first bias.*unknown"):
        load_model(path, nn.ParameterDict({"bias": torch.zeros(1)}))


def test_nan_weights_are_refused_by_name(saved, tmp_path):
    net, path = saved
    with torch.no_grad():
        net.conv2.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"conv2\.weight holds 1 values that are NaN or infinite"):
        save_model(net, tmp_path / "other.safetensors", make_header())
    assert not (tmp_path / "other.safetensors").exists()
    write_container(path, net.state_dict(), {"format": KIND, "version": VERSION, **make_header().to_dict()})
    with pytest.raises(ValueError, match=r"conv2\.weight holds 1 values"):
        load_model(path)


@pytest.mark.parametrize("keep", [0, 4, 100, -300, -1])
def test_truncated_files_are_one_sentence(saved, keep):
    _, path = saved
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable bitspike model") as error:
        load_model(path)
    assert "\n" not in str(error.value)


def test_foreign_files_are_told_apart(tmp_path):
    path = tmp_path / "foreign.safetensors"
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_model(path)
    path.write_bytes(b"PK\x03\x04 a zip file, as torch.save writes" * 9)
    with pytest.raises(ValueError, match="not a readable bitspike model"):
        load_model(path)
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="has no bitspike header"):
        load_model(path)
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, metadata={"bitspike": "[1"})
    with pytest.raises(ValueError, match="has no bitspike header"):
        load_model(path)
    write_container(path, {}, {"format": "bitspike training state", "version": 1})
    with pytest.raises(ValueError, match="is a bitspike training state, not a bitspike model"):
        load_model(path)


def test_newer_files_and_unknown_fields(tmp_path):
    path = tmp_path / "newer.safetensors"
    write_container(path, {}, {"format": KIND, "version": VERSION + 1, "model": "small8"})
    with pytest.raises(ValueError, match=r"version 2 .* reads up to 1; update bitspike"):
        load_model(path)
    write_container(path, {}, {"format": KIND, "version": VERSION, "model": "small8", "magic": 1})
    with pytest.raises(ValueError, match="does not understand"):
        load_model(path)


def test_header_is_json_that_other_tools_can_read(saved):
    _, path = saved
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    inner = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["bitspike"])
    assert (inner["format"], inner["version"], inner["model"]) == ("bitspike model", 1, "small8")


def test_tied_weights_can_be_saved(tmp_path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    save_model(net, tmp_path / "tied.safetensors", ModelHeader("mine"))
    loaded, _ = load_model(tmp_path / "tied.safetensors", net)
    assert torch.equal(loaded[0].weight, loaded[1].weight)


def test_single_flipped_bits_are_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    generator = random.Random(0)
    places = [generator.randrange(start) for _ in range(60)]
    places += [generator.randrange(start, len(whole)) for _ in range(60)]
    places += [whole.index(b"sha256") + offset for offset in range(6)]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            load_model(path)
    damaged = bytearray(whole)
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="is a damaged bitspike model: its checksum does not hold; copy it again"):
        load_model(path)


def test_files_from_before_the_checksum_still_load(saved):
    net, path = saved
    header = {"format": KIND, "version": VERSION, **make_header().to_dict()}
    path.write_bytes(safetensors.torch.save(net.state_dict(), metadata={"bitspike": json.dumps(header)}))
    assert load_model(path)[1] == make_header()


def test_numbers_as_keys_of_a_header_are_no_damage(tmp_path):
    from bitspike.train.container import read_container, write_container

    write_container(tmp_path / "a", {"w": torch.ones(2)}, {"format": "x", "version": 1, "rates": {9: 1, 10: 2}})
    assert read_container(tmp_path / "a", "x", 1)[1]["rates"] == {"9": 1, "10": 2}


def test_the_quantization_is_the_networks_own(saved, tmp_path):
    net, path = saved
    options = make_header().options
    save_model(net, tmp_path / "plain.safetensors", ModelHeader("small8", options))
    loaded, header = load_model(tmp_path / "plain.safetensors")
    assert QuantSpec.from_dict(header.quant).for_layer("conv2") == SPEC.for_layer("conv2")
    images = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    assert torch.equal(loaded(images), net.eval()(images))
    wrong = ModelHeader("small8", options, QuantSpec.parse("4w4u").to_dict())
    with pytest.raises(ValueError, match=r"layer conv1 is not quantized as the header says \(4w4u\)"):
        save_model(net, path, wrong)
