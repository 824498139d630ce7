"""Killed without warning, again and again: the table in the end is the one of an exploration that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from kills import KILLS, begun, ended, exploring

from bitspike.explore import explore
from bitspike.explore.explore import TABLE
from bitspike.explore.storage import JOURNAL
from studies import LARGE, SPACE, forked, run, small, table

MODES = {
    "exhaustive": {"space": SPACE},
    "nsga2": {"space": LARGE, "sampler": "nsga2", "trials": 14},
}


def _check(folder: Path, given: dict, kills: int) -> None:
    rows = run(**given, out=folder)
    expected = run(**given)
    assert rows == expected
    assert [row["number"] for row in rows] == list(range(len(expected)))
    written = json.loads((folder / TABLE).read_text())["rows"]
    assert [row["choices"] for row in written] == [row["choices"] for row in expected]
    done = begun(folder.with_suffix(".begun"))
    assert len(done) <= len(expected) + kills  # at most one candidate for each kill is done again
    assert not list(folder.glob(".*.part"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_killed_at_ten_random_moments(mode, tmp_path):
    """A study that ends before its next kill, as on a fast machine, is checked, and another one begun."""
    draw = random.Random(mode)
    number = kills = of_this = 0
    for _ in range(100):
        folder = tmp_path / f"study{number}"
        process = forked(exploring, folder, None, MODES[mode])
        with ended(process):
            process.join(draw.uniform(0.1, 0.8))
            alive = process.is_alive()
        if alive:
            kills, of_this = kills + 1, of_this + 1
        else:
            _check(folder, MODES[mode], of_this)
            number, of_this = number + 1, 0
        if kills == 10:
            break
    assert kills == 10
    _check(tmp_path / f"study{number}", MODES[mode], of_this)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_killed_in_the_middle_of_every_step(mode, tmp_path):
    draw = random.Random(mode)
    number, killed = 0, []
    kills = 0  # of the present study
    for moment in [(what, draw.randrange(2)) for what in KILLS * 2]:
        for _ in range(2):
            folder = tmp_path / f"study{number}"
            process = forked(exploring, folder, moment, MODES[mode])
            with ended(process):
                process.join(60)
                assert process.exitcode in (0, -signal.SIGKILL), moment
            if process.exitcode:
                killed.append(moment)
                kills += 1
                break
            # The moment does not come any more: this study is at its end, and another one meets it.
            _check(folder, MODES[mode], kills)
            number, kills = number + 1, 0
    assert {what for what, _ in killed} == set(KILLS)
    if kills:
        _check(folder, MODES[mode], kills)


@pytest.mark.parametrize("cut", [1, 20])
def test_a_half_written_last_line_is_cut_off(cut, tmp_path):
    rows = run(out=tmp_path)
    journal = tmp_path / JOURNAL
    os.truncate(journal, journal.stat().st_size - cut)
    assert run(out=tmp_path) == rows
    assert all(json.loads(line) for line in journal.read_text().splitlines())


@pytest.mark.slow
def test_asynchronously_nothing_is_lost_or_done_twice(tmp_path):
    given = {"space": LARGE, "sampler": "random", "trials": 14, "asynchronous": True}
    folder = tmp_path / "study"
    draw = random.Random(0)
    kills = 0
    for _ in range(4):
        process = forked(exploring, folder, None, given)
        with ended(process):
            process.join(draw.uniform(0.3, 0.9))
            kills += process.is_alive()
    rows = run(**given, out=folder)
    assert [row["number"] for row in rows] == list(range(14))
    assert len({json.dumps(row["choices"]) for row in rows}) == 14
    assert len(begun(folder.with_suffix(".begun"))) <= 14 + kills


@pytest.mark.slow
def test_processes_die_with_their_parent_and_the_folder_is_free_at_once(tmp_path):
    folder = tmp_path / "study"
    process = forked(exploring, folder, None, {"workers": 2})
    with ended(process):
        end = time.monotonic() + 60
        while '"bitspike:row"' not in _text(folder / JOURNAL):
            assert time.monotonic() < end
            time.sleep(0.02)
        children = _children(process.pid)
        assert len(children) >= 2
        with pytest.raises(ValueError, match="another process explores in"):
            run(out=folder)
        process.kill()
        process.join()
        given = small(out=folder)
        found = table(explore(**given))  # at once: no lock is left
    assert found == run()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < end
        time.sleep(0.05)


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _children(parent: int) -> list[int]:
    """Processes begun by one, without the one that only keeps account of multiprocessing's things."""
    told = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in told.split()}
    return [child for child, command in commands.items() if b"spawn_main" in command]
