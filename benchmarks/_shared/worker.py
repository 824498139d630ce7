"""The parent's side of a worker: a process that stays, and times its call when it is asked.

One JSON object a line each way. All workers of a case live at the same time, asleep in a read while another one works.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _shared.environment import PeerMissingError, worker_environment

LONGEST_WAIT = 600.0


class Worker:
    """A started worker; `info` is what it said of itself when it was ready."""

    def __init__(self, name: str, python: Path, module: str, arguments: Sequence[str] = (), **environment: str) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the worker
        self._process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=worker_environment(**environment),
        )
        try:
            self.info = self._read()
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        stream = self._process.stdin
        if stream is None or self._process.poll() is not None:
            raise PeerMissingError(f"{self.name}: {self._last_words()}")
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        return self._read()

    def time(self, seconds: float, clock: str = "cpu") -> dict[str, Any]:
        """Milliseconds per call, one number a block, over about that many seconds: {"ms": [...], "calls": n}."""
        return self.ask(do="time", seconds=seconds, clock=clock)

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()  # the end of its input is the end of its loop
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        stream = self._process.stdout
        if stream is None:
            raise PeerMissingError(f"{self.name}: it has no output")
        watch = threading.Timer(LONGEST_WAIT, self._process.kill)
        watch.start()
        try:
            line = stream.readline()
        finally:
            watch.cancel()
        if not line:
            self._process.wait()
            raise PeerMissingError(f"{self.name}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else f"ended with status {self._process.returncode}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
