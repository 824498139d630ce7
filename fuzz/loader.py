"""A fuzz target over the `.bsp` loader: table, header, tensors, and every check of the graph in them.

The checksum alone is left out (`verify=False`), since no mutation would get past it. Anything but ValueError is a
crash, and so is a network that does not survive being written and read again. Half of the mutations change bytes; the
other half change a number, a text or a tensor and write the file anew, so that they reach the checks behind the layout.

    pip install atheris==3.0.0 numpy safetensors
    PYTHONPATH=src python fuzz/loader.py CORPUS -runs=1000000 -rss_limit_mb=1024 -max_len=16384
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "integer"))
with atheris.instrument_imports(include=["bitspike.integer"]):
    from bitspike.integer.file import Contents, from_bytes, to_bytes
from mutations import mutated

from hand_graphs import by_hand, everything


def one_input(data: bytes) -> None:
    """Load; what loads must be equal after writing and reading it once more."""
    try:
        found = from_bytes(data, "fuzz", verify=False)
    except ValueError:
        return
    written = to_bytes(found)
    if to_bytes(from_bytes(written, "again")) != written:
        raise RuntimeError("a loaded network changes when it is written and read again")


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """A changed file: bytes at random, or values of a file that can be taken apart."""
    draw = random.Random(seed)
    try:
        made = mutated(data, draw) if draw.random() < 0.5 else None
    except ValueError:
        made = None
    return made if made is not None and len(made) <= most else atheris.Mutate(data, most)


def main() -> None:
    """Run libFuzzer with the arguments of the command line; an empty corpus gets the networks of the tests."""
    folders = [Path(word) for word in sys.argv[1:] if not word.startswith("-")]
    if folders and not (folders[0].is_dir() and any(folders[0].iterdir())):
        folders[0].mkdir(parents=True, exist_ok=True)
        for name, graph in (("by-hand", by_hand()), ("everything", everything())):
            (folders[0] / name).write_bytes(to_bytes(Contents(graph)))
    atheris.Setup(sys.argv, one_input, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
