"""Networks as exported C: the instructions that an image takes on this machine, and the bytes on a microcontroller."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import export_size
from _inference.cases import Prepared
from _shared.environment import PeerMissingError
from bitspike.export import ExportReport, export_c
from bitspike.export.footprint import read_footprint
from bitspike.export.toolchain import STRICT, compile_c, find_compiler
from bitspike.runtime import IntegerNet

DRIVER = Path(__file__).parent / "count.c"
BOARD = "m4"


@dataclass(frozen=True)
class Export:
    """A network's folder of C sources."""

    prepared: Prepared
    folder: Path
    report: ExportReport

    @classmethod
    def of(cls, prepared: Prepared, folder: Path) -> Export:
        """Write the sources."""
        return cls(prepared, folder, export_c(IntegerNet(prepared.graph), folder, name="network"))


def instructions(export: Export, *, reuse_input: bool) -> int:
    """Instructions per image: what valgrind counts for all images less what it counts for the first one alone."""
    if shutil.which("valgrind") is None:
        raise PeerMissingError("valgrind, which counts them, is not installed")
    program = export.folder / f"count-{int(reuse_input)}"
    try:
        compiler = find_compiler()
    except FileNotFoundError as error:
        raise PeerMissingError(str(error)) from None
    sources = [export.folder / name for name in ("network.c", "bitspike_core.c", "bitspike_sum.c")]
    flags = [*STRICT, "-O2", f"-DBITSPIKE_REUSE_INPUT={int(reuse_input)}", f"-I{export.folder}"]
    compile_c(compiler, [*flags, DRIVER, *sources, "-o", program])
    images = export.prepared.samples
    counted = [_counted(program, export, count) for count in (1, len(images))]
    return (counted[1] - counted[0]) // (len(images) - 1)


def _counted(program: Path, export: Export, count: int) -> int:
    images = export.prepared.samples[:count, 0]
    place = export.folder / f"images-{count}"
    place.write_bytes(np.ascontiguousarray(images).tobytes())
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise PeerMissingError(f"valgrind ended with status {done.returncode}: {done.stderr.strip()[-200:]}")
    logits = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    if logits != IntegerNet(export.prepared.graph).predict(images).tolist():
        raise RuntimeError("the exported C gives other logits than the network; nothing it takes means anything")
    return int(found[1])


def footprint(export: Export) -> tuple[int, int]:
    """Bytes of flash and of memory as linked for a Cortex-M4."""
    missing = [tool for tool in ("make", "arm-none-eabi-gcc") if shutil.which(tool) is None]
    if missing:
        raise PeerMissingError(f"{' and '.join(missing)} not installed; flash is read from the linker's map")
    if not export_size.build(export.folder, f"footprint-{BOARD}.elf"):
        raise PeerMissingError(f"{export.prepared.case.name} does not fit a {export_size.BOARDS[BOARD]}")
    size = read_footprint((export.folder / f"footprint-{BOARD}.map").read_text(encoding="utf-8"), "network")
    return size.flash, size.memory
