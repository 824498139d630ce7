"""`bitspike doctor`, healthy and with parts missing or broken."""

import os
import subprocess
import sys

import pytest

from bitspike.cli import self_check, system
from bitspike.engine import builds

needs_engine = pytest.mark.skipif(not builds(), reason="no engine was built here")


def without_engine(monkeypatch, reason="no engine was built"):
    monkeypatch.setattr(system, "_engine", lambda: ((), reason))


def test_a_healthy_installation(cli):
    done = cli("doctor", "--json")
    found = done.json
    assert done.code == 0
    assert found["healthy"] is True
    assert found["self_check"]["passed"] is True
    versions = {item["name"]: item["version"] for item in found["packages"]}
    assert set(versions) == {
        "numpy",
        "safetensors",
        "rich",
        "cyclopts",
        "torch",
        "scikit-learn",
        "pillow",
        "matplotlib",
    }
    assert versions["numpy"].count(".") >= 1
    assert found["engine_builds"] == list(builds())
    assert found["threads"]["usable"] >= 1
    assert "bitspike works" in cli("doctor").out


@needs_engine
def test_the_engine_is_named_by_its_best_build(cli, monkeypatch):
    monkeypatch.delenv("BITSPIKE_ENGINE", raising=False)
    best, *others = builds()
    told = cli("doctor", "--json").json
    assert told["engine"] == (f"{best} (also built: {', '.join(others)})" if others else best)
    assert not any(item["name"] == "engine" for item in told["missing"])
    assert all(f"engine ({name})" in told["self_check"]["detail"] for name in builds())


def test_a_wrong_library_is_told_from_a_missing_compiler(cli, monkeypatch):
    without_engine(monkeypatch)
    monkeypatch.delenv("BITSPIKE_ENGINE_LIBRARY", raising=False)

    def remedy():
        return next(item["remedy"] for item in cli("doctor", "--json").json["missing"] if item["name"] == "engine")

    assert remedy().startswith("install a C compiler")
    monkeypatch.setenv("BITSPIKE_ENGINE_LIBRARY", "/nowhere/engine.so")
    assert remedy().startswith("BITSPIKE_ENGINE_LIBRARY names a library that cannot be used")


@needs_engine
def test_another_engine_can_be_asked_for(monkeypatch):
    monkeypatch.setenv("BITSPIKE_ENGINE", builds()[-1])
    assert system.engine().startswith(builds()[-1])
    monkeypatch.setenv("BITSPIKE_ENGINE", "reference")
    assert system.engine() == "reference (torch), slow: BITSPIKE_ENGINE asks for it"
    monkeypatch.setenv("BITSPIKE_ENGINE", "sse")
    assert system.engine() == f"none: BITSPIKE_ENGINE asks for sse; allowed here: {', '.join((*builds(), 'reference'))}"


def test_a_missing_engine_is_named_with_its_remedy_but_breaks_nothing(cli, monkeypatch):
    without_engine(monkeypatch)
    done = cli("doctor", "--json")
    assert done.code == 0
    assert done.json["engine"] == "reference (torch), slow: no engine was built"
    assert done.json["self_check"]["detail"].startswith("real form and reference agree in all ")
    told = cli("doctor").out
    assert "engine is missing (running networks fast and without torch): install a C compiler" in told
    monkeypatch.setattr(system, "_torch", lambda: None)
    assert system.engine() == "none: no engine was built, and torch, on which the reference runs, is missing"


def test_an_engine_that_does_not_load_is_told(tmp_path):
    library = tmp_path / "_engine.so"
    library.write_text("no library")
    code = "from bitspike.cli import system; print(system.engine(), *system.engine_builds())"
    environment = os.environ | {"BITSPIKE_ENGINE_LIBRARY": str(library)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"reference (torch), slow: the engine {library} cannot be loaded: ")


@needs_engine
def test_the_self_check_notices_an_engine_that_differs(cli, monkeypatch):
    from bitspike.engine import Engine

    real = Engine.run

    def off_by_one(self, *arguments, **options):
        found = real(self, *arguments, **options)
        found.logits[0, 0] += 1
        return found

    monkeypatch.setattr(Engine, "run", off_by_one)
    done = cli("doctor", "--json")
    assert done.code == 1
    assert done.json["self_check"]["detail"].startswith(f"{len(builds())} of ")


@needs_engine
def test_the_self_check_notices_an_engine_that_differs_unwatched(cli, monkeypatch):
    from bitspike.engine import Engine

    real = Engine.predict
    monkeypatch.setattr(Engine, "predict", lambda self, samples: real(self, samples) + 1)
    done = cli("doctor", "--json")
    assert done.code == 1
    assert " spikes and logits differ between " in done.json["self_check"]["detail"]
    monkeypatch.setattr(self_check.importlib.util, "find_spec", lambda name: None)
    assert self_check.self_check()["passed"] is False


@needs_engine
def test_without_torch_the_kernels_of_the_engine_are_compared(monkeypatch):
    from bitspike.engine import Engine

    monkeypatch.setattr(self_check.importlib.util, "find_spec", lambda name: None)
    found = self_check.self_check()
    assert found["passed"] is True
    runs = 4 * len(builds())
    assert found["detail"].startswith(f"{runs} builds and kernels of the engine (no reference: torch is missing) agree")
    real = Engine.run

    def quiet_planes(self, *arguments, **options):
        recorded = real(self, *arguments, **options)
        if self.kernel == "planes":
            recorded.values["second"] *= 0
        return recorded

    monkeypatch.setattr(Engine, "run", quiet_planes)
    assert self_check.self_check()["passed"] is False
    without_engine(monkeypatch)
    assert self_check.self_check() == {"passed": None, "detail": "not run: there is neither torch nor an engine"}


def test_a_missing_extra_is_named_but_breaks_nothing(cli, monkeypatch):
    real = system._version
    monkeypatch.setattr(system, "_version", lambda name: None if name == "pillow" else real(name))
    monkeypatch.setattr(system, "compiler", lambda: None)
    done = cli("doctor")
    assert done.code == 0
    assert "pillow is missing (folders of pictures): pip install 'bitspike[train]'" in done.out
    assert "C compiler is missing" in done.out


def test_a_missing_core_package_is_broken(cli, monkeypatch):
    real = system._version
    monkeypatch.setattr(system, "_version", lambda name: None if name == "safetensors" else real(name))
    done = cli("doctor", "--json")
    assert done.code == 1
    assert done.json["healthy"] is False


@pytest.mark.parametrize(
    ("result", "told"), [((100, 3, "real form and reference"), "3 of 100"), (ValueError("no"), "ValueError: no")]
)
def test_a_failed_self_check_is_broken(cli, monkeypatch, result, told):
    def compare():
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(self_check, "_compare", compare)
    done = cli("doctor")
    assert done.code == 1
    assert told in done.out
    assert "BROKEN" in done.out


def test_the_self_check_notices_a_changed_threshold(monkeypatch):
    from bitspike.integer import ops

    real = ops.spiking

    def off_by_one(value, skip, node, membrane):
        spikes, kept = real(value, skip, node, membrane)
        return 1 - spikes, kept

    assert self_check.self_check()["passed"] is True
    monkeypatch.setattr(ops, "spiking", off_by_one)
    assert self_check.self_check()["passed"] is False


def test_a_compiler_that_does_not_run_is_none(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert system.compiler() is None
    broken.write_text("#!/bin/sh\necho cc 99.1\necho more\n")
    assert system.compiler() == f"cc 99.1 ({broken})"
