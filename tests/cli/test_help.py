"""Help and version: there for every command, with examples, without loading anything heavy."""

import subprocess
import sys

import pytest

COMMANDS = ["demo", "train", "evaluate", "measure", "models", "data", "doctor", "completion"]

CHILD = """
import sys
from bitspike.cli import main
for words in sys.argv[1:]:
    assert main(words.split()) == 0
print(*(name for name in ("torch", "numpy", "sklearn") if name in sys.modules), "loaded")
"""


def test_no_help_loads_torch_or_numpy(environment):
    lines = ["--help", "--version", *(f"{name} --help" for name in COMMANDS), "data verify --help"]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *lines], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.splitlines()[-1].split() == ["loaded"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help_with_examples_of_itself(cli, name):
    done = cli(name, "--help")
    assert done.code == 0
    assert f"Usage: bitspike {name}" in done.out
    assert f"\n  bitspike {name}" in done.out.partition("Examples:")[2]


def test_the_root_help_names_every_command_and_the_exit_codes(cli):
    done = cli("--help")
    assert all(f" {name} " in done.out for name in COMMANDS)
    assert "Exit codes: 0 done" in done.out
    assert cli().out == done.out


def test_the_version(cli):
    from bitspike import __version__

    assert cli("--version").out.strip() == f"bitspike {__version__}"


def test_python_m_runs_the_same_program(environment):
    done = subprocess.run(
        [sys.executable, "-m", "bitspike", "--version"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("bitspike ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_know_the_commands(cli, shell):
    done = cli("completion", shell)
    assert done.code == 0
    assert all(name in done.out for name in COMMANDS)
    assert "--epochs" in done.out


def test_completion_of_an_unknown_shell(cli):
    done = cli("completion", "tcsh")
    assert done.code == 2
    assert "bash" in done.err
