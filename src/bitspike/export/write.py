"""`export_c`: a folder of C99 sources that are the network."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike._version import __version__
from bitspike.atomic import atomic_write
from bitspike.export.plan import make_plan
from bitspike.export.source import Source, model_header, model_source
from bitspike.export.toolchain import SOURCES
from bitspike.export.vectors import Network, make_vectors, random_samples, vectors_source
from bitspike.integer.graph import Graph

_AS_THEY_ARE = (
    "bitspike_bits.h",
    "bitspike_core.c",
    "bitspike_core.h",
    "bitspike_sum.c",
    "bitspike_sum.h",
    "selftest.c",
    "selftest.h",
    "host.c",
    "firmware/firmware.h",
    "firmware/start.c",
    "firmware/semihosting.c",
    "firmware/sections.ld",
    "firmware/microbit.ld",
    "firmware/mps2.ld",
)
_FILLED_IN = ("Makefile", "README.md", "example.c", "firmware/footprint.c")
_OURS = "Written by bitspike; do not edit."  # in the first line of what is made for a network
# Files of these names are written already, or are headers that the sources include.
_TAKEN = frozenset(("selftest", "example", "host", "firmware", "stddef", "stdint", "stdio"))


@dataclass(frozen=True)
class ExportReport:
    """What was written, and the bytes it takes on a 32-bit target; code and stack come on top."""

    folder: str
    name: str
    files: tuple[str, ...]
    ram_bytes: int
    ram_bytes_reuse: int  # with BITSPIKE_REUSE_INPUT=1
    weight_bytes: int
    table_bytes: int
    constant_bytes: int  # weights, tables and descriptors
    self_test_samples: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def export_c(
    net: Network,
    folder: str | Path,
    *,
    name: str = "network",
    samples: NDArray[np.uint8] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write a network as C99: its data, the code that runs it, a Makefile, an example, a self-test.

    name: prefix of files and functions, a C identifier. samples: images [B, C, H, W] or event counts
    [T, B, C, H, W] for the self-test; without them some random ones. overwrite: replace an earlier export; its network
    goes, also where it had another name, and files of others stay.
    Functions, files and sizes are explained in docs/reference/c-export.md.
    """
    target = Path(folder).expanduser()
    _check_name(name)
    _check_folder(target, overwrite)
    plan = make_plan(net.graph)
    chosen = random_samples(net.graph, 2) if samples is None else _checked_samples(net.graph, samples)
    vectors = make_vectors(net, chosen)
    model, source = model_source(plan, name)
    ram = (4 * plan.arena_words, 4 * plan.arena_words_reuse)
    texts = {file: (SOURCES / file).read_text(encoding="ascii") for file in _AS_THEY_ARE}
    texts |= {file: _filled((SOURCES / f"{file}.in").read_text("ascii"), name, ram, source) for file in _FILLED_IN}
    texts |= {
        f"{name}.c": model,
        f"{name}.h": model_header(plan, name),
        f"{name}_selftest.c": vectors_source(plan, name, vectors),
    }
    for file, text in texts.items():
        atomic_write(target / file, text.encode("ascii"))
    _remove_earlier(target, texts)
    return ExportReport(
        folder=str(target),
        name=name,
        files=tuple(sorted(texts)),
        ram_bytes=ram[0],
        ram_bytes_reuse=ram[1],
        weight_bytes=source.weight_bytes,
        table_bytes=source.table_bytes,
        constant_bytes=source.constant_bytes,
        self_test_samples=len(vectors.frames),
    )


def c_name(text: str) -> str:
    """The nearest name that `export_c` takes."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower()[:50]
    return name if _is_name(name) else f"net_{name}".strip("_")


def _is_name(name: str) -> bool:
    usual = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name, re.ASCII) is not None
    return usual and name.lower() not in _TAKEN and not name.lower().startswith("bitspike")


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise ValueError(
            f'name is "{name}"; it becomes the prefix of C functions and files: up to 60 letters, digits and _, a '
            f'letter first, not beginning with "bitspike", none of {", ".join(sorted(_TAKEN))}'
        )


def _check_folder(target: Path, overwrite: bool) -> None:
    if target.exists() and not target.is_dir():
        raise FileExistsError(f"{target} is a file; give a folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / "bitspike_core.h").is_file():
        raise ValueError(f"{target} holds files that are no earlier export; give a new or empty folder")
    if not overwrite:
        raise ValueError(f"{target} holds an earlier export; give another folder, or ask to overwrite it (--force)")


def _remove_earlier(target: Path, written: Container[str]) -> None:
    """Remove the network of an earlier export that had another name."""
    for test in target.glob("*_selftest.c"):
        name = test.name.removesuffix("_selftest.c")
        for file in (test, target / f"{name}.c", target / f"{name}.h"):
            if file.name not in written and file.is_file() and _OURS in _first_line(file):
                file.unlink()


def _first_line(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.readline()


def _checked_samples(graph: Graph, samples: NDArray[np.uint8]) -> NDArray[np.uint8]:
    array = np.asarray(samples)
    axis = 0 if graph.input.kind == "image" else 1
    if array.ndim > axis and array.shape[axis] == 0:
        raise ValueError("samples are none; give at least one, or leave them out for random ones")
    return array


def _filled(text: str, name: str, ram: tuple[int, int], source: Source) -> str:
    known = {
        "name": name,
        "NAME": name.upper(),
        "version": __version__,
        "ram": f"{ram[0]:,}",
        "ram_reuse": f"{ram[1]:,}",
        "weights": f"{source.weight_bytes:,}",
        "constants": f"{source.constant_bytes:,}",
    }
    return re.sub(r"@(\w+)@", lambda found: known[found[1]], text)
