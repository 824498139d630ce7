"""Programs of small random networks, from which the fuzzing of the engine starts: engine_seeds.py FOLDER [COUNT]."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "engine"))

from engine_cases import random_graph

from bitspike.engine.program import program


def main(folder: Path, count: int = 64) -> None:
    """One byte of choices (see engine_program.c) and a program each."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        graph = random_graph(seed, channels=(1, 2, 3, 5, 17, 33))
        (folder / f"seed-{seed:03d}").write_bytes(bytes([seed * 37 % 256]) + program(graph))
    print(f"{count} programs in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:3]))
