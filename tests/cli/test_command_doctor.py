"""`bitspike doctor`, healthy and with parts missing or broken."""

import pytest

from bitspike.cli import self_check, system


def test_a_healthy_installation(cli):
    done = cli("doctor", "--json")
    found = done.json
    assert done.code == 0
    assert found["healthy"] is True
    assert found["self_check"]["passed"] is True
    versions = {item["name"]: item["version"] for item in found["packages"]}
    assert set(versions) == {"numpy", "safetensors", "rich", "cyclopts", "torch", "scikit-learn", "pillow"}
    assert versions["numpy"].count(".") >= 1
    assert found["engine"] == "reference (torch)"
    assert found["threads"]["usable"] >= 1
    assert "bitspike works" in cli("doctor").out


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


@pytest.mark.parametrize(("result", "told"), [((100, 3), "3 of 100"), (ValueError("no"), "ValueError: no")])
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
