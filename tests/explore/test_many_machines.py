"""One study and many processes: on a database, each candidate is evaluated once and the table is the one of one."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from kills import begun, ended, joining

from bitspike.explore import executor, explore, leader, search, store
from studies import LARGE, SPACE, forked, run, small, table

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


def _refused_while_one_leads(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second leader comes while the first evaluates, and evaluates nothing."""
    evaluated, before = [], executor.evaluate_candidate

    def once(setting, number, *arguments):
        if not evaluated:
            with pytest.raises(ValueError, match=r"another process explores 'exploration' in .*join it .*--join"):
                run(storage=storage)
            run(storage=storage, name="another", space=SPACE | {"weight.bits": [3]}, trials=1)
        evaluated.append(number)
        return before(setting, number, *arguments)

    def other(setting, number, *arguments):
        return (
            once(setting, number, *arguments)
            if setting.space.dimensions == SPACE
            else before(setting, number, *arguments)
        )

    monkeypatch.setattr(executor, "evaluate_candidate", other)
    rows = run(storage=storage)
    assert sorted(evaluated) == list(range(len(rows)))
    assert run(storage=storage) == rows  # once the first has ended, the next may begin at once


def test_a_second_leader_is_refused_on_sqlite(sqlite, monkeypatch):
    _refused_while_one_leads(sqlite, monkeypatch)


@pytest.fixture
def beating(monkeypatch):
    """Leaders by signs of life, which are quick, on SQLite as on other databases."""
    monkeypatch.setattr(store.Store, "leader_lock", lambda self: None)
    monkeypatch.setattr(search, "BEAT", 0.05)
    monkeypatch.setattr(search, "STALE", 5.0)
    monkeypatch.setattr(leader, "SETTLE", 0.0)


def test_a_second_leader_is_refused_by_signs_of_life(sqlite, monkeypatch, beating):
    _refused_while_one_leads(sqlite, monkeypatch)


def test_a_leader_that_was_killed_is_followed_after_a_while(sqlite, monkeypatch, beating, caplog):
    monkeypatch.setattr(search, "STALE", 0.3)
    rows = run(storage=sqlite)
    left = store.open_store(
        sqlite, "exploration", store.stored_identity(sqlite, "exploration"), SPACE, ("accuracy", "memory")
    )
    assert left.leader == ""
    left.set_leader("gone:1:0")
    assert run(storage=sqlite) == rows
    assert any("waiting up to 0.3 seconds" in record.getMessage() for record in caplog.records)


def test_of_two_leaders_that_begin_at_once_one_goes(sqlite, monkeypatch, beating):
    run(storage=sqlite)
    monkeypatch.setattr(leader.time, "sleep", lambda seconds: leader_of.set_leader("other:2:0"))
    leader_of = store.open_store(
        sqlite, "exploration", store.stored_identity(sqlite, "exploration"), SPACE, ("accuracy", "memory")
    )
    with pytest.raises(ValueError, match="another process explores"):
        run(storage=sqlite)


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
