"""Flash and memory that networks take as exported C, from the linker's maps, board by board.

    .venv/bin/python benchmarks/export_size.py --json         a minute; needs make, arm-none-eabi-gcc, qemu-system-arm

Sizes depend on a network's shape and bits, not on its training, so those without a committed model have random weights.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from _shared.machine import machine

ROOT = Path(__file__).resolve().parents[1]
BOARDS = {"m0": "Cortex-M0", "m3": "Cortex-M3", "m4": "Cortex-M4", "m7": "Cortex-M7"}
TOOLS = ("make", "arm-none-eabi-gcc", "qemu-system-arm")
UNTRAINED = {"small_touch": "1w4u", "vggsnn": "1w2u", "vgg16": "1w2u", "resnet19": "1w2u"}


def networks() -> Iterator[tuple[str, Any]]:
    """Name and integer network of every row."""
    from bitspike import IntegerNet, create_model, lower

    for path in sorted((ROOT / "models").glob("*.bsp")):
        yield path.stem, IntegerNet.load(path)
    for name, spec in UNTRAINED.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield f"{name}-{spec}", lower(create_model(name, spec=spec).eval())


def rows_of(name: str, net: Any, folder: Path) -> list[dict[str, Any]]:
    """One row a board: what is linked there, and the stack where the self-test ran."""
    from bitspike.export import export_c
    from bitspike.export.footprint import read_footprint

    report = export_c(net, folder, name="network")
    found = []
    for board, title in BOARDS.items():
        row: dict[str, Any] = {"case": name, "board": title, "fits": build(folder, f"footprint-{board}.elf")}
        if row["fits"]:
            size = read_footprint((folder / f"footprint-{board}.map").read_text(encoding="utf-8"), "network")
            row |= {"flash": size.flash, "constants": size.constants, "code": size.code, "ram": size.memory}
            row |= {"ram_reuse": report.ram_bytes_reuse, "weights": report.weight_bytes}
            row["stack"] = stack(folder, board) if name.startswith("qsnn-") else None
        found.append(row)
    return found


def build(folder: Path, target: str) -> bool:
    """Whether it links; anything but a lack of memory is an error."""
    done = subprocess.run(["make", "-s", "-C", folder, target], capture_output=True, text=True, check=False)
    if done.returncode != 0 and not re.search(r"will not fit in region|no room for the stack", done.stderr):
        raise RuntimeError(done.stderr)
    return done.returncode == 0


def stack(folder: Path, board: str) -> int | None:
    """Bytes of stack that the self-test used on the emulated board."""
    done = subprocess.run(["make", "-s", "-C", folder, f"run-{board}"], capture_output=True, text=True, check=False)
    used = re.search(r"^stack (\d+) bytes$", done.stdout + done.stderr, re.MULTILINE)
    return int(used[1]) if used and "self-test passed" in done.stdout + done.stderr else None


def main() -> int:
    """Build, read, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line that is a JSON object")
    parser.add_argument("--out", type=Path, help="write the result there too, indented")
    given = parser.parse_args()
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    rows: list[dict[str, Any]] = []
    for name, net in [] if missing else networks():
        with tempfile.TemporaryDirectory(prefix="bitspike-") as folder:
            rows += rows_of(name, net, Path(folder))
        for row in rows[-len(BOARDS) :]:
            said = f"flash {row['flash']:>9,}  RAM {row['ram']:>9,}" if row["fits"] else "does not fit"
            print(f"{name:28} {row['board']}  {said}", file=sys.stderr, flush=True)
    result = {"benchmark": "export_size", "machine": machine(), "missing": missing, "rows": rows}
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
