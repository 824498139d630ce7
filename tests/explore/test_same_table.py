"""The table depends on the arguments alone: not on processes, and not on how often it is asked for."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bitspike.explore import Space, executor
from bitspike.explore.executor import Job, LocalProcesses
from bitspike.explore.explore import TABLE
from bitspike.explore.proposals import chosen_sampler
from bitspike.explore.setting import Setting
from bitspike.explore.space import Candidate
from studies import LARGE, SPACE, TinyNet, bars, run

SAMPLED = ("nsga2", "tpe", "random")
MIDDLE = SPACE | {"weight.rounding": ["nearest", "stochastic"]}


@pytest.fixture
def evaluations(monkeypatch):
    """Numbers of the candidates that this process evaluates."""
    counted: list[int] = []
    before = executor.evaluate_candidate

    def counting(setting, number, *arguments):
        counted.append(number)
        return before(setting, number, *arguments)

    monkeypatch.setattr(executor, "evaluate_candidate", counting)
    return counted


class Kept(LocalProcesses):
    """Processes that serve one exploration after the other, since each takes seconds to begin."""

    def close(self) -> None:
        assert not self._queue
        assert all(worker.job is None for worker in self._workers)


@pytest.mark.parametrize("sampler", SAMPLED)
def test_a_sampler_gives_the_same_table_again_and_more_of_it_with_more_trials(sampler, evaluations):
    few = run(space=LARGE, sampler=sampler, trials=14)
    assert [row["number"] for row in few] == list(range(14)) == evaluations
    assert {json.dumps(row["choices"]) for row in few} <= {json.dumps(choices) for choices in _choices(LARGE)}
    assert len({json.dumps(row["choices"]) for row in few}) == 14
    assert run(space=LARGE, sampler=sampler, trials=20)[:14] == few
    assert run(space=LARGE, sampler=sampler, trials=14, seed=1) != few


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "samplers"), [(2, SAMPLED), (4, ("exhaustive", "nsga2"))])
def test_the_table_is_the_same_with_any_number_of_workers(workers, samplers, monkeypatch, tmp_path):
    kept: list[Kept] = []

    def processes(setting, workers):
        if not kept:
            kept.append(Kept(setting, workers))
        return kept[0]

    monkeypatch.setattr(import_module("bitspike.explore.explore"), "LocalProcesses", processes)
    try:
        for sampler in samplers:
            one = run(space=MIDDLE, sampler=sampler)
            assert run(space=MIDDLE, sampler=sampler, workers=workers, out=tmp_path / sampler) == one
            assert len(one) == (20 if sampler == "exhaustive" else 16)
            if sampler == "exhaustive":
                assert run(space=MIDDLE, sampler=sampler, asynchronous=True, workers=workers) == one
        assert len(kept[0]._workers) == workers
    finally:
        for pool in kept:
            LocalProcesses.close(pool)


def test_a_finished_exploration_is_read_and_not_done_again(tmp_path, evaluations):
    for sampler in ("exhaustive", "nsga2"):
        evaluations.clear()
        out = tmp_path / sampler
        first = run(sampler=sampler, out=out)
        assert len(evaluations) == len(first)
        written = json.loads((out / TABLE).read_text())
        assert [row["number"] for row in written["rows"]] == [row["number"] for row in first]
        assert run(sampler=sampler, out=out) == first
        assert run(sampler=sampler, out=out, workers=2) == first  # begins no process: nothing is left to do
        assert len(evaluations) == len(first)
        assert json.loads((out / TABLE).read_text())["rows"] == written["rows"]


def test_more_trials_go_on_where_fewer_ended(tmp_path, evaluations):
    run(space=LARGE, sampler="nsga2", trials=8, out=tmp_path)
    more = run(space=LARGE, sampler="nsga2", trials=15, out=tmp_path)
    assert evaluations == list(range(15))
    assert more == run(space=LARGE, sampler="nsga2", trials=15)


def test_fewer_trials_than_candidates_are_asked_of_a_sampler():
    sizes = {trials: chosen_sampler("auto", Space(SPACE), trials) for trials in (None, 11, 12, 2000)}
    assert sizes == {None: "exhaustive", 11: "nsga2", 12: "exhaustive", 2000: "exhaustive"}
    large = Space({f"override.l{number}.weight.bits": list(range(1, 9)) for number in range(4)})
    assert [chosen_sampler("auto", large, trials) for trials in (None, 5000)] == ["nsga2", "nsga2"]
    rows = run(sampler="auto", trials=5)
    assert rows == run(sampler="nsga2", trials=5)
    assert len(rows) == 5


def test_small_spaces_are_tried_in_full_and_candidates_that_come_to_the_same_once():
    # 1-bit weights have no rounding.
    rows = run(
        space={"weight.bits": [1, 2], "weight.rounding": ["nearest", "floor"], "membrane.bits": [2], "ends.bits": [2]},
        sampler="auto",
    )
    assert [(row["choices"]["weight.bits"], row["choices"]["weight.rounding"]) for row in rows] == [
        (1, "nearest"),
        (2, "nearest"),
        (2, "floor"),
    ]


def test_a_sampler_that_repeats_itself_gets_other_candidates_by_chance():
    assert len(run(sampler="tpe", trials=12)) == 12  # all that there are


def test_failed_candidates_do_not_end_a_search(monkeypatch):
    before = executor.evaluate_candidate

    def picky(setting, number, *arguments):
        if number % 3 == 0:
            raise ValueError(f"number {number} cannot be")
        return before(setting, number, *arguments)

    monkeypatch.setattr(executor, "evaluate_candidate", picky)
    for sampler in SAMPLED:
        rows = run(space=LARGE, sampler=sampler, trials=14)
        assert [row["state"] for row in rows] == ["failed" if number % 3 == 0 else "complete" for number in range(14)]
        assert rows[3]["error"] == "number 3 cannot be"


def test_asynchronously_every_candidate_is_tried_once(tmp_path, evaluations):
    everything = run()
    evaluations.clear()
    assert run(asynchronous=True, out=tmp_path) == everything
    assert run(asynchronous=True, out=tmp_path) == everything
    assert evaluations == list(range(12))
    evaluations.clear()
    sampled = run(asynchronous=True, space=LARGE, sampler="nsga2", trials=14)
    assert evaluations == list(range(14))
    assert len({json.dumps(row["choices"]) for row in sampled}) == 14


def test_the_caller_keeps_the_network_as_it_was():
    net = TinyNet().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    run(net=net, space={"weight.bits": [2], "membrane.bits": [4], "ends.bits": [4]})
    assert net.training
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())


# ---- processes that die ----


@dataclass(frozen=True)
class DeadlySpace(Space):
    """Kills the process in which some candidates are made: one always, one the first time."""

    folder: str = ""

    def candidate(self, choices: Any) -> Candidate:
        if multiprocessing.parent_process() is not None:
            number = list(Space(self.dimensions)).index(dict(choices))
            first = not (Path(self.folder) / str(number)).exists()
            (Path(self.folder) / str(number)).touch()
            if number == 1:
                os._exit(7)
            if number == 4 and first:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().candidate(choices)


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_no_other_candidate_feels_it(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(executor, "RETRIES", 2)
    alone = run()
    rows = run(space=DeadlySpace(SPACE, folder=str(tmp_path)), workers=2)
    assert rows[1]["state"] == "failed"
    assert "its process died 3 times (exit code 7)" in rows[1]["error"]
    assert [row for row in rows if row["number"] != 1] == [row for row in alone if row["number"] != 1]
    again = [record.getMessage() for record in caplog.records if "is done again" in record.getMessage()]
    assert (
        sorted(again)
        == ["a process died (SIGKILL); candidate 4 is done again"]
        + ["a process died (exit code 7); candidate 1 is done again"] * 2
    )


@dataclass(frozen=True)
class BrokenSpace(Space):
    """An error that is nobody's but the program's."""

    def candidate(self, choices: Any) -> Candidate:
        if multiprocessing.parent_process() is not None:
            raise RuntimeError("the program is wrong")
        return super().candidate(choices)


@pytest.mark.slow
def test_an_error_of_the_program_ends_the_exploration_and_says_where():
    pool = LocalProcesses(Setting(TinyNet().eval(), BrokenSpace(SPACE), bars(), bars(), calibration=(2, 16)), 1)
    try:
        pool.submit(Job(5, {"weight.bits": 2}))
        with pytest.raises(RuntimeError, match="the program is wrong") as caught:
            while not pool.finished(30):
                pass
    finally:
        pool.close()
    assert any("in candidate 5" in note and "Traceback" in note for note in caught.value.__notes__)


@pytest.mark.slow
def test_processes_that_cannot_begin_are_told_of_and_not_tried_for_ever(monkeypatch):
    monkeypatch.setattr(executor, "_work", _dies_at_once)
    monkeypatch.setattr(executor, "RETRIES", 0)
    pool = LocalProcesses(Setting(TinyNet().eval(), Space(SPACE), bars(), bars(), calibration=(2, 16)), 1)
    pool.submit(Job(0, {}))
    with pytest.raises(RuntimeError, match=r"no process for candidates can begin \(exit code 1\).*__main__"):
        pool.finished(30)
    pool.close()


def _dies_at_once(*_: Any) -> None:
    os._exit(1)


def _choices(space: Any) -> Any:
    return Space.of(space)
