"""The package as it is shipped: with a compiler it holds the engine, without one it is pure Python and still works."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from needed_tools import need_tool

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files and what is about to be, apart from build folders that other builds use."""
    need_tool("git")
    folder = tmp_path_factory.mktemp("package") / "source"
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout")
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in names:
        if name and (ROOT / name).is_file() and not name.startswith(("docs/", "tests/", "models/", "results/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def build(source: Path, out: Path, **environment: str) -> Path:
    """The wheel of the package, built with what is installed here: no network."""
    for name in ("scikit_build_core", "cmake", "ninja"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'bitspike[dev]'")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    copy = out.with_name("build_source")  # builds leave their cache in the sources
    shutil.copytree(source, copy)
    command += ["--no-build-isolation", "--wheel-dir", str(out), str(copy)]
    inherited = {name: value for name, value in os.environ.items() if name not in ("CC", "CFLAGS", "LD_PRELOAD")}
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return wheel


def run_with(wheel: Path, folder: Path, code: str) -> str:
    """What a program prints that has only the wheel's bitspike, unpacked, before what is installed here."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_data() -> set[str]:
    """Everything in the package that is not compiled, and the recipes."""
    package = ROOT / "src"
    suffixes = (".py", ".c", ".h", ".typed")
    files = {str(path.relative_to(package)) for path in package.rglob("*") if path.suffix in suffixes}
    return (
        files
        | {"bitspike/py.typed"}
        | {f"bitspike/{path.relative_to(ROOT)}" for path in (ROOT / "recipes").rglob("*.toml")}
    )


PROGRAM = """
import sys, bitspike, bitspike.engine, numpy as np
from bitspike.integer import graph as g
from bitspike.runtime import IntegerNet
from bitspike.train import list_recipes
weight = np.array([[1, 1], [1, -1]])
nodes = (g.Input("x", "image", (1, 1, 2), 1, (0,), 255, 1.0), g.Flatten("f", "x"),
         g.Readout("y", "f", weight, np.array([0, 7]), 1.0, 1))
print(bitspike.__file__)
print(*bitspike.engine.builds())
print(*IntegerNet(g.Graph(nodes)).predict(np.array([[[[5, 3]]]], np.uint8))[0])
print(len(list_recipes()))
"""


def check_program(told: str, folder: Path) -> list[str]:
    """The program used the unpacked package and computed right; the builds that it named."""
    where, builds, logits, recipes = told.splitlines()
    assert where.startswith(str(folder))
    assert logits == "8 9"
    assert int(recipes) == len(list((ROOT / "recipes").glob("*.toml")))
    return builds.split()


def test_with_a_compiler_the_wheel_holds_the_engine(source, tmp_path):
    need_tool("cc")
    wheel = build(source, tmp_path / "out", CMAKE_ARGS="-DENGINE_KERNEL_OPTIONS=-O0")  # compiles in half the time
    assert "-py3-none-" in wheel.name
    assert not wheel.name.endswith("-any.whl")
    assert expected_data() | {"bitspike/engine/_engine.so"} <= names_in(wheel)
    assert any(name.endswith("licenses/LICENSE") for name in names_in(wheel))
    from bitspike.engine import builds

    assert check_program(run_with(wheel, tmp_path / "unpacked", PROGRAM), tmp_path / "unpacked") == list(builds())


def test_without_a_compiler_the_wheel_is_pure_and_works(source, tmp_path):
    wheel = build(source, tmp_path / "out", CC="false")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = names_in(wheel)
    assert expected_data() <= names
    assert not any(name.endswith(".so") for name in names)
    assert check_program(run_with(wheel, tmp_path / "unpacked", PROGRAM), tmp_path / "unpacked") == []


def test_a_program_that_the_compiler_refuses_leaves_a_pure_wheel(source, tmp_path):
    need_tool("cc")
    broken = tmp_path / "source"
    shutil.copytree(source, broken)
    (broken / "src/bitspike/engine/c/library.c").write_text("not C\n")
    assert build(broken, tmp_path / "out").name.endswith("-py3-none-any.whl")


def test_the_source_archive_is_enough_to_build_from(source, tmp_path):
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("scikit_build_core is not installed: pip install 'bitspike[dev]'")
    code = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    needed = {"pyproject.toml", "CMakeLists.txt", "cmake/editable/CMakeLists.txt", "LICENSE", "README.md"}
    assert needed <= names
    assert {f"src/{name}" for name in expected_data() if "/recipes/" not in name} <= names
    assert {str(path.relative_to(ROOT)) for path in (ROOT / "recipes").rglob("*.toml")} <= names
    assert not any(name.endswith(".so") for name in names)


def test_an_editable_installation_reads_the_checkout():
    import bitspike

    assert Path(bitspike.__file__).parent == ROOT / "src" / "bitspike"
    from bitspike.train import list_recipes

    assert {path.parent for path in list_recipes().values()} == {ROOT / "recipes"}
