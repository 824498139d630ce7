"""`bitspike import`: from a NIR file or a function to a model file, and on to integers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from torch import nn

from bitspike.cli.opening import open_model
from bitspike.imports.loading import module_from
from needed_tools import need_module

TORCH = """
import torch
from torch import nn
import snntorch as snn

def trained():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), snn.Leaky(beta=0.9, init_hidden=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 10), snn.Leaky(beta=0.5, threshold=0.3, init_hidden=True),
    )

def refused():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), snn.Leaky(beta=0.9, init_hidden=True))

def number():
    return 3
"""


@pytest.fixture
def files(tmp_path):
    (tmp_path / "mine.py").write_text(TORCH)
    nir = need_module("nir")
    rng = np.random.default_rng(0)
    values = (np.full(20, value, "f4") for value in (2e-4, 2.0, 0.0, 0.7, 0.0))
    nodes = [nir.Linear(rng.normal(size=(20, 64)).astype("f4")), nir.LIF(*values)]
    last = nir.Affine(rng.normal(size=(10, 20)).astype("f4"), rng.normal(size=10).astype("f4"))
    start = nir.Input({"input": np.array([64])})
    nir.write(tmp_path / "net.nir", nir.NIRGraph.from_list([start, *nodes, last]))


def test_a_function_becomes_a_model_file_and_integers(cli, files, tmp_path):
    need_module("snntorch")
    words = (
        "mine.py:trained",
        "-T",
        "4",
        "--input-shape",
        "1,8,8",
        "--mean",
        "0.3",
        "--std",
        "0.25",
        "--data",
        "digits",
    )
    done = cli("import", *words, "--json")
    assert done.code == 0, done.err
    found = done.json
    assert found["file"] == "mine.safetensors"
    assert found["origin"] == "torch"
    assert found["ignored"] == ["5"]
    first, second, readout = found["layers"]
    assert first["sources"] == ["0", "1", "2"]
    assert (first["nearest_leak"], first["leak_to_round"]) == ("115/128", True)
    assert first["membrane"]["strict"]
    assert first["membrane"]["subtract"] == pytest.approx(1 / 0.9)
    assert (second["membrane"]["threshold"], second["leak_to_round"]) == (pytest.approx(0.3), False)
    assert "membrane" not in readout
    assert any("rounded" in note for note in found["notes"])
    net, header, _ = open_model(tmp_path / "mine.safetensors")
    assert header.model == "sequence"
    assert header.provenance["import"]["source"] == "mine.py:trained"
    assert float(net.conv0.membrane_spec.leak) == pytest.approx(0.9)
    refused = cli("lower", "mine.safetensors")
    assert refused.code == 2
    assert "32 bits" in refused.err

    done = cli("import", *words, "--quant", "8w8u", "--out", "q.safetensors")
    assert done.code == 0, done.err
    assert "all equal" in done.out
    assert "115/128" in done.out  # what integers round the leak to; the sentence may wrap
    assert "batch norms were set anew" in done.out
    assert cli("lower", "q.safetensors", "--quiet").code == 0
    certified = cli("certify", "q.bsp", "--data", "digits", "--samples", "20", "--no-c", "--json")
    assert certified.code == 0, certified.err
    floating, integers = (
        cli("evaluate", name, "--data", "digits", "--json").json for name in ("q.safetensors", "q.bsp")
    )
    assert floating["accuracy"] == integers["accuracy"]


def test_a_file_of_nir(cli, files, tmp_path):
    done = cli("import", "net.nir", "--time-steps", "5", "--reset", "soft", "--input-shape", "1,8,8", "--quiet")
    assert done.code == 0, done.err
    net, header, _ = open_model(tmp_path / "net.safetensors")
    assert [name for name, _ in net.sequence] == ["input", "flatten", "linear", "affine"]
    assert net.linear.membrane_spec.reset == "soft"
    assert len(header.provenance["import"]["sha256"]) == 64
    assert cli("evaluate", "net.safetensors", "--data", "digits", "--json").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mine.py:refused", "--input-shape", "1,8,8"), "1 is a ReLU"),
        (("mine.py:number", "--input-shape", "1,8,8"), "returned int; it must return the trained torch module"),
        (("mine.py:none", "--input-shape", "1,8,8"), "mine.py has no function none"),
        (("other.py:trained", "--input-shape", "1,8,8"), "there is no file other.py"),
        (("no.such.place:trained", "--input-shape", "1,8,8"), "there is no module no.such.place"),
        (("nothing", "--input-shape", "1,8,8"), "names neither a NIR file nor a function"),
        (("mine.py:trained",), "--input-shape is missing"),
        (("mine.py:trained", "--input-shape", "1,8,8", "--dt", "0.1"), "leave out --dt"),
        (
            ("mine.py:trained", "--input-shape", "1,8,8", "--reset", "soft", "--integration", "exponential"),
            "leave out --integration, --reset",
        ),
        (("mine.py:trained", "--input-shape", "1,8,8", "--bound", "300"), "bound is 300"),
        (("mine.py:trained", "--input-shape", "a,b"), "--input-shape is 'a,b'"),
        (("mine.py:trained", "--input-shape", "1,8,8", "--out", "x.bsp"), "ends with .safetensors"),
        (("net.nir", "--reset", "sometimes"), "reset is 'sometimes'"),
        (("gone.nir",), "there is no file gone.nir"),
    ],
)
def test_what_is_refused(cli, files, words, said):
    need_module("snntorch")
    done = cli("import", *words, "-T", "3")
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("mine.py", "mine.py is Python; name the function in it that returns the network: mine.py:FUNCTION"),
        ("net.pt", "net.pt holds tensors, not what computes with them"),
    ],
)
def test_files_that_hold_no_network_by_themselves(cli, files, tmp_path, source, said):
    (tmp_path / "net.pt").write_bytes(b"tensors")
    done = cli("import", source, "-T", "4", "--input-shape", "1,8,8", "--json")
    assert done.code == 2
    assert said in done.json["error"]


def test_a_file_is_run_as_a_script_beside_its_modules(cli, tmp_path):
    (tmp_path / "beside_it.py").write_text("from torch import nn\n\ndef layers():\n    return nn.ReLU()\n")
    (tmp_path / "script.py").write_text(
        "from __future__ import annotations\nimport sys\nfrom dataclasses import dataclass\nfrom torch import nn\n"
        "sys.path.insert(0, '/nowhere')\n\n@dataclass\nclass Options:\n    wide: int = 3\n\n"
        "def trained():\n    import beside_it\n"
        "    return nn.Sequential(nn.Linear(Options().wide, 2), beside_it.layers())\n"
    )
    path = list(sys.path)
    try:
        module = module_from(f"{tmp_path / 'script.py'}:trained")
        assert [type(part) for part in module] == [nn.Linear, nn.ReLU]
        assert sys.path == ["/nowhere", *path]
    finally:
        sys.path[:] = path
        sys.modules.pop("beside_it", None)
