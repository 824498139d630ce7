"""`bitspike lower`, and `evaluate` of the file that it writes."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from bitspike import IntegerNet
from bitspike.cli.opening import lowered, open_model
from bitspike.data import load


def test_the_file_holds_the_network_and_where_it_comes_from(cli, trained, tmp_path):
    done = cli("lower", trained["small"], "--out", "x.bsp", "--json")
    found = done.json
    assert done.code == 0
    assert found["bytes"] == (tmp_path / "x.bsp").stat().st_size
    assert found["model_bytes"] == trained["small"].stat().st_size > found["bytes"]
    assert [(row["name"], row["grid"], row["bits"]) for row in found["layers"]] == [
        ("conv1", "signed", 8),
        ("conv2", "binary", 1),
        ("readout", "signed", 8),
    ]
    # 8 planes of 4 * 9 bits, one of 8 * 4 * 9, 8 of 10 * 32; each plane ends on a whole byte.
    assert [row["bytes"] for row in found["layers"]] == [8 * 5, 36, 8 * 40]
    assert found["weight_bytes"] == 396
    net = IntegerNet.load("x.bsp")
    _, header, _ = open_model(trained["small"])
    said = net.about.provenance
    assert said["source"]["sha256"] == hashlib.sha256(trained["small"].read_bytes()).hexdigest()
    assert (said["model"], said["recipe"], said["seed"]) == (header.model, header.recipe, 0)
    assert said["data"] == header.provenance["identity"]["data"]
    assert net.about.results == {key: value for key, value in header.results.items() if key != "history"}
    assert net.about.certificate is None


def test_a_run_s_folder_is_lowered_beside_its_model(cli, trained):
    done = cli("lower", trained["small"].parent)
    target = trained["small"].with_suffix(".bsp")
    assert done.code == 0
    assert f"{target}: " in done.out.replace("\n", "")
    assert target.is_file()
    target.unlink()


def test_the_integer_file_evaluates_as_the_model_file_does(cli, trained, written, event_root):
    for name in ("small", "events"):
        of_model = cli("evaluate", trained[name], "--data-root", event_root, "--confusion", "--json")
        of_file = cli("evaluate", written[name], "--data-root", event_root, "--confusion", "--json")
        same = ("accuracy", "confusion", "firing_rates", "data", "form", "engine", "network", "stored_accuracy")
        assert {key: of_file.json[key] for key in same} == {key: of_model.json[key] for key in same}
        assert of_file.json["reproduced"] is True
        assert (of_model.code, of_file.code) == (0, 0)


def test_samples_are_spread_over_the_split(cli, written):
    spread = cli("evaluate", written["small"], "--samples", "5", "--confusion", "--json").json
    digits = load("digits", "test")
    wanted = digits.labels[np.linspace(0, len(digits) - 1, 5).round().astype(int)]
    assert np.sum(spread["confusion"], axis=1).tolist() == np.bincount(wanted, minlength=10).tolist()
    assert "give one of them" in cli("evaluate", written["small"], "--samples", "5", "--limit", "5").err


def test_a_renamed_file_is_known_by_its_beginning(cli, written, tmp_path):
    (tmp_path / "network.bin").write_bytes(written["small"].read_bytes())
    assert cli("evaluate", "network.bin", "--limit", "5", "--order", "steps", "--json").json["samples"] == 5


def test_an_accuracy_that_is_not_reproduced_fails(cli, written, tmp_path):
    from dataclasses import replace

    net = IntegerNet.load(written["small"])
    wrong = replace(net.about, results={**net.about.results, "test_accuracy": 0.5})
    net.save(tmp_path / "wrong.bsp", about=wrong)
    done = cli("evaluate", "wrong.bsp")
    assert done.code == 1
    assert "NOT the same" in done.out


def test_a_network_without_provenance_needs_the_name_of_its_data(cli, trained, tmp_path):
    lowered(open_model(trained["small"])[0]).save(tmp_path / "bare.bsp")
    done = cli("evaluate", "bare.bsp")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "name a data set with --data" in done.err
    assert cli("evaluate", "bare.bsp", "--data", "digits", "--limit", "3", "--json").json["stored_accuracy"] is None


@pytest.mark.parametrize(
    "said",
    [
        {"recipe": 3},
        {"recipe": {"data": []}},
        {"recipe": {"data": {"name": []}}},
        {"recipe": {"data": {"name": "digits", "options": {"root": "/", "download": True}}}},
        {"model": 5, "test_fingerprint": []},
    ],
)
def test_strange_provenance_is_as_good_as_none(cli, trained, tmp_path, said):
    from bitspike.runtime import About

    lowered(open_model(trained["small"])[0]).save(
        tmp_path / "strange.bsp", about=About(said, {"test_accuracy": "high"})
    )
    assert cli("evaluate", "strange.bsp", "--data", "digits", "--limit", "3").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "FILE", "--form", "real"), "--form is real, but the file holds the integer form alone"),
        (("evaluate", "FILE", "--device", "cuda"), '--device is "cuda", but integer networks run on the CPU'),
        (("evaluate", "none.bsp"), "there is no file none.bsp"),
        (("evaluate", "FILE", "--data", "mnist", "--data-root", "MNIST"), "samples of shape 1x28x28"),
        (("lower", "FILE"), "is an integer network already"),
        (("lower", "FLOAT"), "has weights of 32 bits and so no integer form"),
        (("lower", "MODEL", "--out", "x.safetensors"), "the name of an integer network ends with .bsp"),
        (("lower", "nothing.safetensors"), "there is no file nothing.safetensors"),
    ],
)
def test_what_cannot_be_is_one_sentence(cli, trained, written, words, message):
    if "MNIST" in words:
        from bitspike.data import dataset_info

        if not dataset_info("mnist")["present"]:
            pytest.skip("the data set mnist is not here")
        words = words[:4]
    files = {"FILE": written["small"], "FLOAT": trained["float"], "MODEL": trained["small"]}
    done = cli(*(files.get(word, word) for word in words))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert message in done.err


def test_a_damaged_file_is_one_sentence(cli, written, tmp_path):
    data = bytearray(written["small"].read_bytes())
    data[-1] ^= 4
    (tmp_path / "damaged.bsp").write_bytes(data)
    done = cli("evaluate", "damaged.bsp")
    assert (done.code, done.err) == (
        2,
        "bitspike: damaged.bsp is damaged: its checksum does not hold; copy it again or make it anew\n",
    )


def test_opening_an_integer_file_loads_no_torch(written, environment):
    code = (
        "import sys; from pathlib import Path; from bitspike.cli.opening import data_for, open_integers\n"
        "from bitspike.cli import evaluate\n"
        f"net, origin, path = open_integers(Path({str(written['small'])!r}))\n"
        "data = data_for(origin, None, 'test')\n"
        "print('torch' in sys.modules, len(data))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split()[0] == "False"
    assert int(done.stdout.split()[1]) > 100
