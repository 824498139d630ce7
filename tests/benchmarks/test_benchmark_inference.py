import json
import sys

import numpy as np
import pytest

import inference
from _inference import extras
from _inference.cases import CASES, Prepared
from _inference.equality import differences
from _inference.participants import PEERS
from bitspike import lower
from networks import ImageNet, images

RESNET = [case for case in CASES if case.network == "resnet19"]


def test_cases_and_peers_are_spelled_as_the_goals_spell_them():
    rates = ("0.05", "0.10", "0.20", "trained")
    assert [case.name for case in CASES] == [
        *(f"resnet19 T=2 B=1 rate={rate}" for rate in rates),
        "mnist T=4 B=1",
        "vggsnn T=10 B=1",
    ]
    assert PEERS == ("torch-fp32-eager", "ort-int8-same-T", "ort-int8-ann-T1")
    assert CASES[1].name == extras.RATE
    assert len({case.slug for case in CASES}) == len(CASES)
    assert all(" " not in case.slug and "=" not in case.slug for case in CASES)


def test_headlines():
    assert all(inference.is_headline("resnet19", peer) for peer in PEERS)
    assert [inference.is_headline("mnist", peer) for peer in PEERS] == [True, False, False]
    assert not inference.is_headline("resnet19", inference.TORCH_ONCE)


class FakeWorker:
    """A worker whose times are set."""

    def __init__(self, ms, **info):
        self.ms, self.closed = ms, False
        self.info = {"file_bytes": int(1000 * ms), "load_ms": ms, "torch_loaded": True} | info
        self.info |= {"first_load_ms": 1.0, "first_predict_ms": 2.0}

    def time(self, seconds, clock="cpu"):
        return {"ms": [self.ms, self.ms], "calls": 2}

    def ask(self, **request):
        assert request == {"do": "memory"}
        return {"highest": int(1e6 * self.ms)}

    def close(self):
        self.closed = True


class FakePeers:
    def __init__(self, started):
        self.started = started

    def start(self, prepared):
        return dict(self.started)

    def torch_once(self, prepared):
        return FakeWorker(90.0)


@pytest.fixture
def group():
    graph = lower(ImageNet()).graph
    samples = images(2).numpy()[:, None]
    return [Prepared(case, graph, None, samples, {"first": 0.1, "second": 0.2}, "a note") for case in RESNET]


@pytest.fixture
def no_engine(monkeypatch):
    monkeypatch.setattr(extras, "engine_builds", lambda: ())
    monkeypatch.setattr(inference, "engine_builds", lambda: ())


def test_every_rate_is_set_against_every_peer_of_the_same_rounds(group, no_engine, monkeypatch):
    monkeypatch.setattr(inference, "start_ours", lambda prepared: FakeWorker(2.0))
    peers = {peer: FakeWorker(ms) for peer, ms in zip(PEERS, (100.0, 20.0, 10.0), strict=True)}
    rows = inference.network_rows(group, FakePeers(peers), inference.Effort(3, 0.1), lambda _: None)
    headline = {(row["case"], row["peer"]): row for row in rows if row["headline"]}
    assert set(headline) == {(case.name, peer) for case in RESNET for peer in PEERS}
    for case in RESNET:
        assert [headline[case.name, peer]["ratio"] for peer in PEERS] == [50.0, 10.0, 5.0]
    row = headline[RESNET[1].name, PEERS[1]]
    assert (row["rate"], row["T"], row["batch"], row["threads"], row["runs"]) == (0.15, 2, 1, 1, 3)
    assert (row["engine"], row["note"], row["clock"]) == ("reference", "a note", "cpu")
    beside = {(row["case"], row["peer"]): row["ratio"] for row in rows if not row["headline"]}
    assert beside["resnet19 T=2 B=1 rate=0.10", "torch-fp32-eager-stem-once"] == 45.0
    assert beside["resnet19 file", "ort-int8-same-T"] == beside["resnet19 memory", "ort-int8-same-T"] == 10.0
    assert beside["resnet19 load", "torch-fp32-eager"] == 50.0
    assert all(worker.closed for worker in peers.values())
    json.dumps(rows)


def test_without_peers_there_are_no_rows_and_no_failure(group, no_engine, monkeypatch):
    monkeypatch.setattr(inference, "start_ours", lambda prepared: FakeWorker(2.0))
    assert inference.network_rows(group, FakePeers({}), inference.Effort(1, 0.1), lambda _: None) == []


def test_lesser_builds_are_set_against_the_best(group, monkeypatch):
    monkeypatch.setattr(extras, "engine_builds", lambda: ("avx512", "avx2"))
    monkeypatch.setattr(
        extras, "start_ours", lambda prepared, build: FakeWorker({"avx2": 3.0}[build], torch_loaded=False)
    )
    workers = extras.build_workers(group)
    assert list(workers) == ["resnet19 T=2 B=1 rate=0.10 build=avx2"]
    series = inference.interleave({name: lambda: {"ms": [3.0], "calls": 1} for name in workers}, 1)
    series[extras.RATE] = inference.interleave({"": lambda: {"ms": [2.4], "calls": 1}}, 1)[""]
    (row,) = extras.build_rows(group, workers, series)
    assert row["engine"] == "avx2"
    assert (row["case"], row["peer"]) == ("resnet19 T=2 B=1 rate=0.10 build=avx2", "bitspike-avx512")
    assert row["ratio"] == 0.8
    assert not row["headline"]
    workers = {name: FakeWorker(3.0, torch_loaded=True) for name in workers}  # the reference ran
    assert extras.build_rows(group, workers, series) == []


def test_two_threads_are_timed_by_the_wall(group, monkeypatch):
    class Threaded(FakeWorker):
        def time(self, seconds, clock="cpu"):
            assert clock == "wall"
            return super().time(seconds)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.close()

    monkeypatch.setattr(extras, "engine_builds", lambda: ("avx512",))
    monkeypatch.setattr(extras, "start_ours", lambda prepared, threads=1: Threaded(3.4 / threads))
    (row,) = extras.thread_rows(group, 2, 0.1)
    assert (row["ratio"], row["threads"], row["clock"], row["headline"]) == (2.0, 2, "wall", False)


def test_what_ran_is_told_by_what_was_loaded(monkeypatch):
    monkeypatch.setattr(inference, "engine_builds", lambda: ("avx512", "avx2"))
    assert inference.what_ran(FakeWorker(1.0, torch_loaded=False)) == "avx512"
    assert inference.what_ran(FakeWorker(1.0, torch_loaded=True)) == "reference"


def test_differing_spikes_are_counted():
    expected = {"a": np.zeros((2, 1, 3), np.int32), "b": np.ones((2, 1, 2), np.int32)}
    found = {name: values.copy() for name, values in expected.items()} | {"readout": np.zeros(1)}
    assert differences(expected, found) == {"spikes": 10, "differing_spikes": 0}
    found["a"][1, 0, 2] = 1
    found["b"][:] = 0
    assert differences(expected, found) == {"spikes": 10, "differing_spikes": 5}


def test_a_layer_that_was_not_recorded_is_no_agreement():
    with pytest.raises(ValueError, match="no spikes were recorded of b"):
        differences({"a": np.zeros(1), "b": np.zeros(1)}, {"a": np.zeros(1)})
    with pytest.raises(ValueError, match=r"spikes of a have shape \[2\]; the reference's \[1\]"):
        differences({"a": np.zeros(1)}, {"a": np.zeros(2)})


def test_a_case_that_does_not_exist_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["inference.py", "--only", "alexnet"])
    with pytest.raises(SystemExit, match="no case has 'alexnet' in its name; cases: resnet19 T=2"):
        inference.main()


def test_the_result_ends_with_one_json_line_and_is_written_too(tmp_path, capsys, monkeypatch):
    row = {"case": "net", "peer": "p", "ours": 1.0, "peer_value": 2.0, "unit": "ms", "ratio": 2.0, "headline": True}
    told = {"case": "net", "build": "avx2", "spikes": 9, "differing_spikes": 0, "logits": 3, "differing_logits": 0}
    result = {
        "benchmark": "inference", "engine": ["avx2"], "rows": [row], "equality": [told], "missing": ["ort: none"],
        "cases": {"net": {"rate": 0.1}},
    }  # fmt: skip
    out = tmp_path / "folder" / "inference.json"
    monkeypatch.setattr(sys, "argv", ["inference.py", "--json", "--out", str(out)])
    inference._show(result, inference._arguments())
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1]) == json.loads(out.read_text()) == result
    assert "net, avx2: 0 of 9 spikes and 0 of 3 logits differ from the reference" in printed
    assert "missing: ort: none" in printed
