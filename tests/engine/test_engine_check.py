"""The engine without Python, on cases that the reference solved: for ARM under emulation, and with sanitizers."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engine_cases import random_graph, random_samples, write_case

from bitspike.engine.program import program
from needed_tools import need_tool

ROOT = Path(__file__).resolve().parents[2]
CASES = 24


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("cases")
    paths = []
    for seed in range(CASES):
        graph = random_graph(seed)
        paths.append(folder / f"{seed:03d}")
        write_case(paths[-1], graph, program(graph), random_samples(graph, 3, seed))
    return paths


@pytest.fixture(scope="module")
def neon_check() -> list[str]:
    """The command that runs engine_check for ARM; build/neon is kept, so that only what changed is compiled again."""
    compiler, qemu = need_tool("aarch64-linux-gnu-gcc"), need_tool("qemu-aarch64")
    scripts = Path(sys.executable).parent
    cmake = str(scripts / "cmake") if (scripts / "cmake").exists() else need_tool("cmake")
    ninja = str(scripts / "ninja") if (scripts / "ninja").exists() else need_tool("ninja")
    folder = ROOT / "build" / "neon"
    configure = [cmake, "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    configure += ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_C_COMPILER={compiler}"]
    configure += ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_EXE_LINKER_FLAGS=-static", "-DENGINE_CHECK=ON"]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes
        run(*configure)
        run(cmake, "--build", str(folder), "--target", "engine_check")
    return [qemu, str(folder / "engine_check")]


def finished(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "CC", "CFLAGS")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def run(*command: str) -> str:
    done = finished(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_neon_equals_the_reference(neon_check, cases):
    told = run(*neon_check, "--require", "neon", *map(str, cases))
    assert told == f"{CASES} cases, {CASES * 4 * 2} settings, all equal\n"


def test_every_build_equals_the_reference_with_sanitizers(cases):
    library = os.environ.get("BITSPIKE_ENGINE_LIBRARY")
    check = Path(library).with_name("engine_check") if library else None
    if check is None or not check.exists():
        pytest.skip("BITSPIKE_ENGINE_LIBRARY names no engine with an engine_check beside it; `make sanitize` does")
    told = run(str(check), *map(str, cases))
    assert told.startswith(f"{CASES} cases, ")
    assert told.endswith(", all equal\n")


@pytest.mark.parametrize("what", ["logit", "value", "membrane"])
def test_the_check_notices_one_wrong_number(neon_check, cases, tmp_path, what):
    raw = bytearray(cases[0].read_bytes())
    raw[_places(raw)[what]] ^= 1
    wrong = tmp_path / "wrong"
    wrong.write_bytes(raw)
    done = finished(*neon_check, str(wrong))
    assert done.returncode == 1
    assert what in done.stderr
    assert "expected" in done.stderr


def test_the_check_refuses_what_is_no_case(neon_check, cases, tmp_path):
    shutil.copy(cases[0], tmp_path / "short")
    with (tmp_path / "short").open("r+b") as file:
        file.truncate(cases[0].stat().st_size // 2)
    (tmp_path / "other").write_bytes(b"something else, long enough")
    for name, message in (("short", "ends too early"), ("other", "is not a case")):
        done = finished(*neon_check, str(tmp_path / name))
        assert done.returncode == 2
        assert message in done.stderr


def _places(raw: bytearray) -> dict[str, int]:
    """Where the last logit, the first value and the first membrane of a case begin."""

    def number(at: int) -> int:
        return int.from_bytes(raw[at : at + 8], "little", signed=True)

    size, events, steps, batch, frame = (number(8 + 8 * i) for i in range(5))
    at = 48 + size + frame * batch * (steps if events else 1)
    at += 8 + 8 * number(at)
    places = {"logit": at - 8}
    nodes = number(at)
    at += 8
    for _ in range(nodes):
        for what, width in (("value", 4), ("membrane", 4)):
            count = number(at)
            if count and what not in places:
                places[what] = at + 8
            at += 8 + width * count
    assert at == len(raw)
    return places
