"""One study and many processes: on a database, each candidate is evaluated once and the table is the one of one."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from kills import begun, ended, joining

from bitspike.explore import explore, store
from studies import LARGE, forked, run, small, table

SAMPLED = {"space": LARGE, "sampler": "nsga2", "trials": 18, "generation": 6}


@pytest.fixture
def sqlite(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


def _storage(kind: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(kind))


def _wait_for(file: Path, count: int) -> None:
    end = time.monotonic() + 60
    while len(begun(file)) < count:
        assert time.monotonic() < end, f"only {begun(file)} in {file}"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_a_leader_and_two_that_join(kind, request, tmp_path):
    storage = _storage(kind, request)
    name = {"name": f"three on {kind}"}
    # Those that join come first: they wait, and neither of them begins the study.
    notes = tmp_path / "w0", tmp_path / "w1"
    workers = [forked(joining, storage, of, SAMPLED | name | {"join": True}) for of in notes]
    with ended(*workers):
        time.sleep(1)
        assert all(worker.is_alive() for worker in workers)
        leader = forked(joining, storage, tmp_path / "leader", SAMPLED | name, notes)
        with ended(leader):
            for process in (leader, *workers):
                process.join(90)
                assert process.exitcode == 0
    assert table(explore(**small(**SAMPLED), storage=storage, **name)) == run(**SAMPLED)  # read, not done again
    done = [begun(tmp_path / who) for who in ("leader", "w0", "w1")]
    assert Counter(number for part in done for number in part) == Counter(range(18))
    assert sum(bool(part) for part in done) >= 2


@pytest.mark.slow
def test_one_that_is_killed_is_missed_and_its_candidate_done_again(postgresql, tmp_path):
    name = {"name": "one is killed"}
    leader = forked(joining, postgresql, tmp_path / "leader", SAMPLED | name, (tmp_path / "worker",))
    worker = forked(joining, postgresql, tmp_path / "worker", SAMPLED | name | {"join": True})
    with ended(leader, worker):
        _wait_for(tmp_path / "worker", 1)
        worker.kill()
        worker.join()
        left = begun(tmp_path / "worker")[-1]
        leader.join(90)
        assert leader.exitcode == 0
    assert table(explore(**small(**SAMPLED), storage=postgresql, **name)) == run(**SAMPLED)
    counted = Counter(begun(tmp_path / "leader") + begun(tmp_path / "worker"))
    assert set(counted) == set(range(18))
    assert all(counted[number] == 1 for number in counted if number != left)


@pytest.mark.slow
def test_a_leader_that_is_killed_goes_on_and_those_that_joined_wait_for_it(postgresql, tmp_path):
    name = {"name": "no leader"}
    leader = forked(joining, postgresql, tmp_path / "leader", SAMPLED | name)
    worker = forked(joining, postgresql, tmp_path / "worker", SAMPLED | name | {"join": True})
    with ended(leader, worker):
        _wait_for(tmp_path / "leader", 2)
        leader.kill()
        leader.join()
        again = forked(joining, postgresql, tmp_path / "leader", SAMPLED | name)
        with ended(again):
            for process in (again, worker):
                process.join(90)
                assert process.exitcode == 0
    assert table(explore(**small(**SAMPLED), storage=postgresql, **name)) == run(**SAMPLED)
    assert len(begun(tmp_path / "leader") + begun(tmp_path / "worker")) <= 19


@pytest.mark.slow
def test_asynchronously_on_a_database(sqlite, tmp_path):
    given = {"space": LARGE, "sampler": "random", "trials": 18, "asynchronous": True}
    leader = forked(joining, sqlite, tmp_path / "leader", given)
    worker = forked(joining, sqlite, tmp_path / "worker", given | {"join": True})
    with ended(leader, worker):
        for process in (leader, worker):
            process.join(90)
            assert process.exitcode == 0
    assert Counter(begun(tmp_path / "leader") + begun(tmp_path / "worker")) == Counter(range(18))


def test_one_that_joins_what_nobody_begins_says_so(sqlite, monkeypatch, caplog):
    monkeypatch.setattr(store, "PATIENCE", 0.3)
    with pytest.raises(ValueError, match=r"nobody has begun the study 'exploration' in sqlite:.* for 0.3 seconds"):
        run(storage=sqlite, join=True)
    assert any("waiting for the study" in record.getMessage() for record in caplog.records)


def test_one_that_joins_with_another_network_is_refused(sqlite):
    run(storage=sqlite)
    assert run(storage=sqlite, join=True) == run()
    with pytest.raises(ValueError, match="is another exploration: it differs in seed"):
        run(storage=sqlite, join=True, seed=1)


# ---- storages that cannot be used ----


def _refused(storage: str) -> str:
    with pytest.raises(ValueError, match=r"storage") as caught:
        run(storage=storage)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert caught.value.__cause__ is None
    assert "secret" not in text
    return text


def test_a_wrong_password(postgresql):
    told = _refused(postgresql.replace("secret", "secretly"))
    assert "password authentication failed" in told
    assert "bitspike:***@127.0.0.1" in told


def test_a_database_that_is_not_there(postgresql):
    assert 'database "nowhere" does not exist' in _refused(postgresql.rpartition("/")[0] + "/nowhere")


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ("postgresql://bitspike:secret@127.0.0.1:1/postgres", "127.0.0.1:1/postgres cannot be used: .*refused"),
        ("sqlite:////nowhere/at/all.db", "unable to open database file"),
        ("unheard://host/name", "unheard"),
        ("mysql://host/name", "MySQLdb"),
        ("postgresql+psycopg2://host/name", "psycopg2"),
        ("postgresql://host:port/name", "is no URL of a database"),
        ("study.db", "give a URL such as"),
        ("sqlite://", "name a file: sqlite:///study.db"),
        ("sqlite:///:memory:", "name a file"),
    ],
)
def test_storages_that_cannot_be_used(storage, says):

    pytest.importorskip("psycopg")
    assert re.search(says, _refused(storage))
