import json
import sys

import pytest

import training
from _shared.environment import PeerMissingError
from _shared.timing import Series
from _training import cases, participants
from _training.cases import CASES
from _training.contest import Contest
from _training.participants import (
    FLOAT,
    KEPT_MEMORY,
    PEERS,
    PLAIN,
    QUANTIZED,
    SPIKINGJELLY,
    STRICTER,
    Peers,
    start_together,
)

CASE = CASES[0]


class FakeWorker:
    """A worker whose times and sizes are set."""

    def __init__(self, ms, resident=3000):
        self.ms, self.closed = ms, False
        self.info = {"saved": int(10 * ms), "resident": resident, "rate": 0.123456}

    def time(self, seconds, clock="cpu"):
        return {"ms": [self.ms, self.ms], "calls": 2}

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


TIMES = {FLOAT.name: 100.0, QUANTIZED.name: 110.0, PLAIN.name: 300.0}
PEER_TIMES = {"spikingjelly-as-written": 600.0, "spikingjelly-tuned": 300.0, "snntorch": 500.0, STRICTER.name: 280.0}


class FakePeers:
    precision = "bfloat16"

    def start(self, peer, case, batches):
        return None if peer.name == self.absent else FakeWorker(PEER_TIMES[peer.name] * case.time_steps / 4)

    def __init__(self, absent=None):
        self.absent = absent


@pytest.fixture
def fake(monkeypatch, tmp_path):
    started = []

    def start(version, case, batches, precision):
        started.append(FakeWorker(TIMES[version.name]))
        return started[-1]

    monkeypatch.setattr(training, "start_ours", start)
    monkeypatch.setattr(training, "versions", lambda: (FLOAT, QUANTIZED, PLAIN))
    monkeypatch.setattr(cases, "FOLDER", tmp_path)
    return started


def measure(peers, effort=training.WHOLE):
    return training.measure(CASE, peers, effort, lambda _: None)


def test_peers_are_spelled_as_the_goals_spell_them():
    assert [peer.name for peer in PEERS] == ["spikingjelly-as-written", "spikingjelly-tuned", "snntorch"]
    assert all(peer.headline for peer in PEERS)
    assert not STRICTER.headline
    assert [peer.precision("bfloat16") for peer in PEERS] == ["float32", "bfloat16", "float32"]
    assert {peer.precision("float32") for peer in PEERS} == {"float32"}


def test_every_peer_is_compared_in_time_and_memory(fake):
    rows, _ = measure(FakePeers())
    headline = {row["peer"]: row for row in rows if row["headline"]}
    assert {peer: row["ratio"] for peer, row in headline.items()} == {
        "spikingjelly-as-written": 6.0, "spikingjelly-tuned": 3.0, "snntorch": 5.0,
    }  # fmt: skip
    row = headline["spikingjelly-tuned"]
    assert (row["case"], row["unit"], row["clock"], row["spec"]) == (CASE.name, "ms", "cpu", "32w32u")
    assert (row["T"], row["batch"], row["threads"], row["runs"]) == (4, 128, 1, training.WHOLE.rounds)
    assert (row["precision"], row["peer_precision"], row["rate"]) == ("bfloat16", "bfloat16", 0.1235)
    assert headline["snntorch"]["peer_precision"] == "float32"
    beside = {(row["case"], row["peer"]): row for row in rows if not row["headline"]}
    assert beside[CASE.name, STRICTER.name]["ratio"] == 2.8
    assert beside[f"{CASE.name} 1w2u", "bitspike-32w32u"]["ratio"] == pytest.approx(1 / 1.1, rel=1e-4)
    assert beside[f"{CASE.name} 1w2u", "bitspike-32w32u"]["spec"] == "1w2u"
    assert beside[CASE.name, PLAIN.name]["ratio"] == 3.0
    saved = beside[f"{CASE.name} saved", "spikingjelly-as-written"]
    assert (saved["ours"], saved["peer_value"], saved["unit"], saved["ratio"]) == (1000, 6000, "bytes", 6.0)
    assert beside[f"{CASE.name} resident", PLAIN.name]["ratio"] == 1.0
    assert (f"{CASE.name} saved", STRICTER.name) not in beside
    assert all(worker.closed for worker in fake)
    json.dumps(rows)


def test_memory_is_told_for_every_t(fake):
    _, entries = measure(FakePeers())
    assert [entry["T"] for entry in entries] == [2, 4, 8, 16] * 4
    assert {entry["participant"] for entry in entries} == {FLOAT.name, *(peer.name for peer in PEERS)}
    by_steps = [entry["saved_bytes"] for entry in entries if entry["participant"] == "snntorch"]
    assert by_steps == [2500, 5000, 10_000, 20_000]
    assert all(entry["case"] == "mnist-convnet B=128" for entry in entries)


def test_a_quick_run_measures_memory_at_the_cases_own_t_only(fake):
    rows, entries = measure(FakePeers(), training.QUICK)
    assert {entry["T"] for entry in entries} == {4}
    assert all(row["peer"] != STRICTER.name for row in rows)


def test_without_a_peer_the_rest_is_compared(fake):
    rows, entries = measure(FakePeers(absent="snntorch"))
    assert "snntorch" not in {row["peer"] for row in rows}
    assert sum(row["headline"] for row in rows) == 2
    assert "snntorch" not in {entry["participant"] for entry in entries}


def test_sizes_that_a_system_keeps_to_itself_have_no_row():
    workers = {FLOAT.name: FakeWorker(1.0, resident=None), QUANTIZED.name: FakeWorker(1.0), "snntorch": FakeWorker(2.0)}
    series = {name: Series([worker.ms], 1) for name, worker in workers.items()}
    contest = Contest(CASE, "float32", workers, {"snntorch": PEERS[2]}, series)
    assert [row["case"].removeprefix(CASE.name) for row in contest.rows()] == ["", " 1w2u", " saved"]
    assert contest.memory()[0]["resident_bytes"] is None


def test_without_the_engine_nothing_is_compared_with_itself(monkeypatch):
    from bitspike.block import native

    monkeypatch.setattr(native, "available", lambda: False)
    assert participants.versions() == (FLOAT, QUANTIZED)
    monkeypatch.setattr(native, "available", lambda: True)
    assert participants.versions() == (FLOAT, QUANTIZED, PLAIN)


def test_a_peer_that_cannot_be_had_is_missing_not_fatal(monkeypatch, tmp_path):
    asked = []

    def ensure(group, packages, say, alone=()):
        asked.append((group, alone))
        raise PeerMissingError(f"{group}: no network")

    monkeypatch.setattr(participants, "ensure", ensure)
    peers = Peers("float32", lambda _: None)
    for _ in range(2):
        assert [peers.start(peer, CASE, tmp_path) for peer in PEERS] == [None] * 3
    assert list(peers.missing) == [peer.name for peer in PEERS]
    assert peers.missing["spikingjelly-tuned"] == f"{CASE.name}: spikingjelly: no network"
    assert asked == [("spikingjelly", ("spikingjelly==2.0.0",)), ("snntorch", ())]  # tried once


def test_packages_are_pinned_and_none_brings_torchvision():
    for library in {peer.library for peer in PEERS}:
        assert all("==" in package for package in (*library.packages, *library.alone))
        assert not any("vision" in package for package in library.packages)
    assert SPIKINGJELLY.alone == ("spikingjelly==2.0.0",)


def test_peers_are_started_as_they_are_described(monkeypatch, tmp_path):
    started = []

    def start(name, python, module, arguments, **environment):
        started.append((name, module, arguments[4:], environment))

    monkeypatch.setattr(participants, "ensure", lambda *_, **__: tmp_path)
    monkeypatch.setattr(participants, "Worker", start)
    peers = Peers("bfloat16", lambda _: None)
    for peer in (*PEERS, STRICTER):
        peers.start(peer, CASE, tmp_path)
    assert started == [
        ("spikingjelly-as-written", "_training.run_spikingjelly", ["--precision", "float32"], {}),
        ("spikingjelly-tuned", "_training.run_spikingjelly", ["--precision", "bfloat16", "--channels-last"], {}),
        ("snntorch", "_training.run_snntorch", ["--precision", "float32"], {}),
        (STRICTER.name, "_training.run_spikingjelly", ["--precision", "bfloat16", "--channels-last"], KEPT_MEMORY),
    ]


def test_our_versions_are_started_as_they_are_described(monkeypatch, tmp_path):
    started = []
    monkeypatch.setattr(participants, "Worker", lambda name, python, module, arguments: started.append(arguments))
    for version in (FLOAT, QUANTIZED, PLAIN):
        participants.start_ours(version, CASES[1], tmp_path, "float32")
    assert json.loads(started[0][1]) == {"first": 16, "widths": [16, 32, 64], "time_steps": 2}
    assert [arguments[3:] for arguments in started] == [
        ["--spec", "32w32u", "--precision", "float32"],
        ["--spec", "1w2u", "--precision", "float32"],
        ["--spec", "32w32u", "--precision", "float32", "--plain"],
    ]


def test_workers_are_started_together_and_keep_their_order():
    workers = start_together({"a": lambda: 1, "b": lambda: None, "c": lambda: 3})
    assert workers == {"a": 1, "c": 3}
    with pytest.raises(PeerMissingError, match="broken"):
        start_together({"a": lambda: 1, "b": lambda: (_ for _ in ()).throw(PeerMissingError("broken"))})


def test_a_case_that_does_not_exist_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["training.py", "--only", "alexnet"])
    with pytest.raises(SystemExit, match="no case has 'alexnet' in its name; cases: mnist-convnet T=4"):
        training.main()


def test_the_result_ends_with_one_json_line_and_is_written_too(fake, tmp_path, capsys, monkeypatch):
    class NoPeers(FakePeers):
        def __init__(self, precision, say):
            super().__init__("snntorch")
            self.missing = {"snntorch": "snntorch: no network"}

    monkeypatch.setattr(training, "Peers", NoPeers)
    out = tmp_path / "folder" / "training.json"
    monkeypatch.setattr(sys, "argv", ["training.py", "--quick", "--json", "--out", str(out)])
    assert training.main() == 0
    printed = capsys.readouterr().out.splitlines()
    result = json.loads(printed[-1])
    assert result == json.loads(out.read_text())
    assert result["benchmark"] == "training"
    assert {"machine", "missing", "rows", "memory", "precision", "rounds", "quick"} <= set(result)
    assert result["missing"] == ["snntorch: snntorch: no network"]
    assert "missing: snntorch: snntorch: no network" in printed
    assert sum(row["headline"] for row in result["rows"]) == 4
