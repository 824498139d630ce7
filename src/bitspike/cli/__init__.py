"""The command line: `bitspike`, or `python -m bitspike`.

One module per command, imported when the command runs; torch is imported only by commands that compute.
`running` turns errors into sentences and exit codes, `output` renders results as tables or as one JSON object.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (by default the process's own) and return its exit code."""
    from bitspike.cli.running import run

    # Threads of torch that wait by spinning bring each other to a halt where cores are shared; see docs/FINDINGS.md.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run(arguments)
