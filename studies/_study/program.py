"""What every study of runs does as a program: list its runs, do those that are missing, or only show its tables."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _study.runs import Study
from bitspike.train import TrainingStopped


def work_or_list(study: Study, execute: Callable[[Any, Path], dict[str, Any]], description: str | None) -> bool:
    """Do what the command line asks for; whether tables are to follow."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="runs whose name contains this")
    parser.add_argument("--list", action="store_true", help="the runs, and which are done")
    parser.add_argument("--table", action="store_true", help="the tables, from the rows that are there")
    given = parser.parse_args()
    if given.list:
        missing = {run.name for run in study.missing()}
        for run in study.runs:
            print(f"{'missing' if run.name in missing else 'done':8} {run.name}")
        return False
    if not given.table:
        try:
            study.work(execute, given.only, lambda text: print(text, flush=True))
        except TrainingStopped as stopped:  # by a signal; the same command goes on
            raise SystemExit(str(stopped)) from None
    return True
