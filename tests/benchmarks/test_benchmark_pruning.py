import json
import shutil
import sys

import numpy as np
import pytest
import torch

import pruning
from _inference import cases
from _inference.cases import Case, Prepared, measured
from _pruning import exported, layers, networks
from _pruning.layers import rows_per_pixel, why_not_four
from _pruning.networks import RATE, SUBJECTS, Pair, Subject
from _shared.environment import PeerMissingError
from bitspike.runtime import IntegerNet

SUBJECT = Subject("small_vgg", (1, 8, 8))
OPTIONS = {"input_shape": (1, 8, 8), "stages": ((8, 16), (32,))}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pruning")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 1, 8, 8)).astype(np.uint8)
    graphs, facts = networks.make("small_vgg", torch.from_numpy(cases.as_batch(images)), **OPTIONS)
    prepared = []
    for part, graph in graphs.items():
        path = folder / f"{part}.bsp"
        IntegerNet(graph).save(path)
        prepared.append(measured(Case(f"tiny {part}", "small_vgg", 2, RATE), graph, images, "a note", path))
    return Pair(SUBJECT, *prepared, facts)


def test_cases_are_spelled_as_the_goals_spell_them():
    assert [subject.case for subject in SUBJECTS] == [
        "small_vgg T=2 B=1 pruned to a quarter of the operations",
        "resnet20 T=2 B=1 pruned to a quarter of the operations",
    ]
    assert [subject.input_shape for subject in SUBJECTS] == [(1, 28, 28), (3, 32, 32)]


def test_both_networks_fire_alike_and_differ_in_channels(pair):
    assert pair.facts["operations_after"] <= 0.25 * pair.facts["operations_before"]
    assert pair.facts["memory_after"] < pair.facts["memory_before"]
    for prepared in (pair.before, pair.after):
        assert prepared.rates == {name: pytest.approx(RATE, abs=0.02) for name in prepared.rates}
        weights = [node.operator.weight for node in prepared.graph.spiking]
        assert [weight.bits for weight in weights] == [8, 2, 2]
    told = [(layer["before"], layer["after"]) for layer in pair.facts["layers"]]
    shapes = [[len(node.fire.shift) for node in prepared.graph.spiking] for prepared in (pair.before, pair.after)]
    assert told == list(zip(*shapes, strict=True))


@pytest.mark.parametrize(
    ("channels", "columns"), [(512, 3), (256, 2), (129, 2), (128, 1.5), (64, 1.25), (32, 1.125), (16, 1.125), (1024, 6)]
)
def test_columns_of_inputs_for_one_pixel(channels, columns):
    assert rows_per_pixel(channels, 512, kernel=3, stride=1, width=32) == columns


def test_a_narrow_map_a_stride_and_a_narrow_vector_take_more_columns():
    assert rows_per_pixel(32, 512, kernel=3, stride=1, width=4) == 1.5
    assert rows_per_pixel(128, 512, kernel=3, stride=2, width=32) == 2.25
    assert rows_per_pixel(512, 128, kernel=3, stride=1, width=32) == 12


def test_layers_are_timed_in_turns(pair, monkeypatch):
    monkeypatch.setattr(layers, "engine_builds", tuple)
    assert layers.layer_times(pair, 2) == []
    monkeypatch.undo()
    if not layers.engine_builds():
        pytest.skip("no engine is built")
    tables = layers.layer_times(pair, 2)
    assert [table["layer"] for table in tables] == [node.name for node in pair.before.graph.nodes]
    first, second = (table for table in tables if table["layer"] in ("layers.0", "layers.1"))
    assert "counting_ratio" not in first  # it reads pixels
    assert second["counting_ratio"] == pytest.approx(8 / first["channels_after"])
    assert "falls by 2 to 2 and not by 4" in why_not_four([{"counting_ratio": 2.0}], "avx2")


class FakeWorker:
    """A worker whose times are set."""

    def __init__(self, ms):
        self.ms, self.info = ms, {"torch_loaded": True}

    def time(self, seconds):
        return {"ms": [self.ms], "calls": 1}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_pruned_is_set_against_unpruned(pair, monkeypatch):
    monkeypatch.setattr(pruning, "start_ours", lambda prepared: FakeWorker(4.0 if prepared is pair.before else 2.0))
    (row,) = pruning.engine_rows(pair, pruning.Effort(3, 0.1, 1))
    assert (row["case"], row["peer"], row["ratio"], row["runs"]) == (SUBJECT.case, "unpruned", 2.0, 3)
    assert (row["headline"], row["engine"], row["T"], row["batch"]) == (True, "reference", 2, 1)
    sizes = {row["case"].rpartition(", ")[2]: row for row in pruning.size_rows(pair)}
    assert list(sizes) == ["operations", "parameters", "memory", "file"]
    assert sizes["operations"]["ratio"] >= 4
    assert sizes["file"]["ours"] == pair.after.path.stat().st_size
    assert not any(row["headline"] for row in sizes.values())


def test_what_cannot_be_counted_here_is_missing_not_fatal(pair, monkeypatch):
    monkeypatch.setattr(exported.shutil, "which", lambda _: None)
    missing = []
    rows = pruning.export_rows(pair, missing)
    assert [row["case"].rpartition(", ")[2] for row in rows] == ["C RAM", "C constants"]
    assert all(row["ratio"] > 1 for row in rows)
    assert missing == [
        "C flash: make and arm-none-eabi-gcc not installed; flash is read from the linker's map",
        "C instructions: valgrind, which counts them, is not installed",
    ]


@pytest.mark.skipif(
    not (shutil.which("valgrind") and shutil.which("cc")), reason="valgrind and a C compiler count instructions"
)
def test_instructions_of_one_image(pair, tmp_path):
    counts = []
    for name, prepared in (("before", pair.before), ("after", pair.after)):
        export = exported.Export.of(prepared, tmp_path / name)
        counts.append(exported.instructions(export, reuse_input=False))
        assert exported.instructions(export, reuse_input=False) == counts[-1]
    assert counts[0] > counts[1] > 10_000
    other = Prepared(pair.after.case, pair.after.graph, pair.after.path, pair.after.samples, {}, "")
    with pytest.raises(RuntimeError, match="gives other logits"):
        exported.instructions(exported.Export(other, tmp_path / "before", export.report), reuse_input=False)


def test_a_case_that_does_not_exist_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pruning.py", "--only", "alexnet"])
    with pytest.raises(SystemExit, match="no case has 'alexnet' in its name; cases: small_vgg T=2"):
        pruning.main()


def test_the_result_ends_with_one_json_line_and_is_written_too(pair, tmp_path, capsys, monkeypatch):
    def no_export(pair, missing):
        missing.append("C instructions: none")
        return []

    monkeypatch.setattr(pruning, "prepare", lambda subject, say: pair)
    monkeypatch.setattr(pruning, "start_ours", lambda prepared: FakeWorker(1.0))
    monkeypatch.setattr(pruning, "export_rows", no_export)
    out = tmp_path / "folder" / "pruning.json"
    monkeypatch.setattr(sys, "argv", ["pruning.py", "--quick", "--json", "--only", "small_vgg", "--out", str(out)])
    assert pruning.main() == 0
    printed = capsys.readouterr().out.splitlines()
    result = json.loads(printed[-1])
    assert result == json.loads(out.read_text())
    assert result["benchmark"] == "pruning"
    assert {"machine", "missing", "rows", "layers", "why_not_4x", "equality", "cases"} <= set(result)
    assert "missing: C instructions: none" in printed
    assert len(result["layers"]) in (0, len(pair.before.graph.nodes))


def test_a_missing_tool_names_itself(pair, monkeypatch, tmp_path):
    monkeypatch.setattr(exported.shutil, "which", lambda _: None)
    with pytest.raises(PeerMissingError, match="valgrind"):
        exported.instructions(exported.Export(pair.after, tmp_path, None), reuse_input=False)
