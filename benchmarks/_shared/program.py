"""What every benchmark does as a program: tell how far it is, and end with the result."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any


class Clock:
    """Time since the program began."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return round(time.perf_counter() - self._began, 1)

    def say(self, text: str) -> None:
        """A line of progress, on standard error."""
        print(f"[{self.seconds:5.0f} s] {text}", file=sys.stderr, flush=True)


def finish(result: dict[str, Any], given: argparse.Namespace) -> None:
    """Name what is missing, write `--out`, and end with one JSON object if `--json` asks for it."""
    for missing in result["missing"]:
        print(f"missing: {missing}")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if given.json:
        print(json.dumps(result))
