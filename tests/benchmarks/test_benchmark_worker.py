import sys
from pathlib import Path

import pytest

from _shared.environment import BENCHMARKS, PeerMissingError, worker_environment
from _shared.worker import Worker

SERVER = """
import sys
from _shared.serving import own_output, serve
pipe = own_output()
print("a library that talks")
calls = []
serve(pipe, calls.append, 3, greeting="hello", arguments=sys.argv[1:])
"""


def start(folder: Path, code: str, *arguments: str) -> Worker:
    (folder / "served.py").write_text(code)
    path = f"{BENCHMARKS}:{folder}"
    return Worker("a worker", Path(sys.executable), "served", arguments, PYTHONPATH=path)


def test_a_worker_says_who_it_is_and_times_when_asked(tmp_path):
    with start(tmp_path, SERVER, "one", "two") as worker:
        assert worker.info == {"greeting": "hello", "arguments": ["one", "two"]}
        first, second = worker.time(0.005), worker.time(0.005, "wall")
        assert first["calls"] >= len(first["ms"]) >= 1
        assert second["calls"] >= 1
        assert worker.ask(do="memory")["highest"] > 1 << 20


def test_a_worker_that_cannot_start_gives_its_last_words(tmp_path):
    with pytest.raises(PeerMissingError, match=r"a worker: ModuleNotFoundError: No module named 'no_such_peer'"):
        start(tmp_path, "import no_such_peer")


def test_a_worker_that_dies_gives_its_last_words(tmp_path):
    code = SERVER.replace("calls.append", "lambda i: calls.append(i) if len(calls) < 3 else 1 / 0")
    with start(tmp_path, code) as worker, pytest.raises(PeerMissingError, match="ZeroDivisionError"):
        worker.time(0.001)


def test_a_request_that_no_worker_knows_ends_it(tmp_path):
    with start(tmp_path, SERVER) as worker, pytest.raises(PeerMissingError, match="it knows time and memory"):
        worker.ask(do="sing")


def test_workers_have_one_thread_and_choose_their_engine_themselves(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    kept = worker_environment(EXTRA="1")
    assert kept["OMP_NUM_THREADS"] == "1"
    assert "OMP_WAIT_POLICY" not in kept
    assert kept["EXTRA"] == "1"
    assert kept["PYTHONPATH"] == str(BENCHMARKS)
