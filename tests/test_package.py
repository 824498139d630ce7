"""What importing the package costs, and that modules import downwards only."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bitspike

SOURCE = Path(bitspike.__file__).parent

# DESIGN.md section 3, bottom first: a part may import parts of floors below its own, and its own.
FLOORS = (
    ("_version", "allocation", "atomic", "interrupt", "locking", "wording"),
    ("spec",),
    ("quant", "integer", "data", "cost"),
    ("neuron", "runtime", "engine", "export"),
    ("block",),
    ("lowering", "model", "ptq", "drawing", "nir"),
    ("measuring",),
    ("prune",),  # looks at networks as lowering does, and measures them
    ("train", "imports", "stdp"),
    ("explore", "report"),
    ("cli",),
    ("__main__",),
)
# Equals on one floor that may still know each other, each for a reason.
SIDEWAYS = {
    ("locking", "atomic"),  # a folder of one's own is one that can be written
    ("cost", "integer"),  # export and cost stand on integer
    ("engine", "integer"),
    ("runtime", "engine"),
    ("runtime", "export"),  # to certify what the exported C computes
    ("imports", "lowering"),
    ("quant", "integer"),  # stochastic rounding of weights draws from the same generator as that of membranes
}


def floor(part: str) -> int:
    found = [number for number, parts in enumerate(FLOORS) if part in parts]
    assert found, f"{part} has no floor in this test; give it one"
    return found[0]


def imported(path: Path) -> set[str]:
    """Parts of bitspike that a module imports anywhere, type checking aside."""
    parts: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            node.body = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names = [node.module or ""]
            if node.module == "bitspike":
                names = [f"bitspike.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith("bitspike."):
                parts.add(name.split(".")[1])
    return parts


MODULES = sorted(path for path in SOURCE.rglob("*.py") if path.parent != SOURCE or path.stem != "__init__")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_downwards_only(path):
    part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    public = set(bitspike.__all__)  # `from bitspike import lower`, for the parts at the top
    for other in imported(path) - {part}:
        if other in public:
            assert part in ("cli", "__main__", "report", "explore") or other == "__version__", (
                f"{part} imports bitspike.{other} through the package's front door"
            )
            continue
        assert floor(other) < floor(part) or (part, other) in SIDEWAYS, f"{part} imports {other}"


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "name",
    [
        "bitspike",
        "bitspike.runtime",
        "bitspike.runtime.rates",
        "bitspike.spec",
        "bitspike.data",
        "bitspike.cost.integers",
        "bitspike.integer.file",
        "bitspike.export",
        "bitspike.nir",
        "bitspike.stdp",
    ],
)
def test_light_parts_import_without_torch(name):
    loaded = loaded_by(f"import {name}")
    assert name in loaded
    assert "torch" not in loaded


def test_the_lazy_names_are_the_real_ones():
    assert "torch" in loaded_by("from bitspike import lower, quantize_, IntegerNet")
    from bitspike.block import quantize_, real_form, recalibrate_
    from bitspike.imports import import_nir, import_torch
    from bitspike.lowering import lower
    from bitspike.measuring import measure
    from bitspike.runtime import IntegerNet, certify

    assert bitspike.certify is certify
    assert bitspike.import_nir is import_nir
    assert bitspike.import_torch is import_torch
    assert bitspike.lower is lower
    assert bitspike.quantize_ is quantize_
    assert bitspike.real_form is real_form
    assert bitspike.recalibrate_ is recalibrate_
    assert bitspike.measure is measure
    assert bitspike.IntegerNet is IntegerNet
    assert all(hasattr(bitspike, name) for name in bitspike.__all__)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="module 'bitspike' has no attribute 'lowr'"):
        _ = bitspike.lowr


WITHOUT_TORCH = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'torch':
            raise ModuleNotFoundError("No module named 'torch'", name='torch')
sys.meta_path.insert(0, Hidden())
import numpy as np
import bitspike
from bitspike.integer import graph
from bitspike.runtime import IntegerNet
net = IntegerNet(graph.Graph((graph.Input('x', 'image', (1, 1, 1), 1, (0,), 255, 1.0),)))
for call in (lambda: bitspike.lower, lambda: net.predict(np.zeros((1, 1, 1, 1), np.uint8)), lambda: net.runner):
    try:
        call()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_without_torch_calls_say_what_to_install():
    environment = {**os.environ, "BITSPIKE_ENGINE": "reference"}
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all("pip install 'bitspike[train]'" in line for line in lines)


def test_the_package_says_that_it_is_typed():
    assert (SOURCE / "py.typed").is_file()


def test_no_module_is_longer_than_the_limit():
    sizes = {path.name: len(path.read_text().splitlines()) for path in MODULES}
    assert max(sizes.values()) <= 400, max(sizes, key=sizes.__getitem__)
