"""Running one command line: errors become one sentence on standard error and an exit code."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

DONE, FAILED, USAGE = 0, 1, 2

_EXTRAS = {
    "torch": "train",
    "sklearn": "train",
    "PIL": "train",
    "matplotlib": "report",
    "optuna": "explore",
    "ray": "ray",
}
"""What brings a library that may be missing."""

DEBUG_VARIABLE = "BITSPIKE_DEBUG"


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; no error leaves as an exception."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    with _plain_speech(quiet="--quiet" in tokens or "-q" in tokens):
        try:
            code = _dispatch(tokens)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            # The reader, such as `head`, has gone; what Python still holds goes nowhere instead of into an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAILED
        except KeyboardInterrupt as stop:
            number = int(getattr(stop, "signal_number", signal.SIGINT))
            return _tell(tokens, stop, str(stop) or "stopped; the same command starts again", 128 + number)
        except Exception as error:
            sentence, code = explain(error)
            if os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"):
                traceback.print_exception(error)
            return _tell(tokens, error, sentence, code)


def _dispatch(tokens: list[str]) -> int:
    from cyclopts import CycloptsError

    from bitspike.cli.app import build_app

    app = build_app()
    try:
        result = app(tokens or ["--help"])
    except CycloptsError as error:
        raise UsageError(_usage_sentence(error, tokens)) from error
    return result if isinstance(result, int) else DONE


class UsageError(ValueError):
    """The command line itself is wrong."""


def _usage_sentence(error: Any, tokens: Sequence[str]) -> str:
    """What the parser found wrong, on one line, and where the help is."""
    text = " ".join(str(error).split())
    text = text if text.endswith("...") else text.removesuffix(".")  # a list that goes on, or the end of a sentence
    chain = [part for part in (error.command_chain or ()) if part in tokens]
    return f"{text}; see `{' '.join(['bitspike', *chain])} --help`"


def explain(error: Exception) -> tuple[str, int]:
    """One sentence for an error, and the exit code that belongs to it.

    2: what was given is wrong (a value, a name, a file that is not there). 1: the machine could not do it.
    """
    if isinstance(error, ModuleNotFoundError):
        return _missing_module(error), FAILED
    if isinstance(error, ImportError):
        return str(error), FAILED
    if isinstance(error, ValueError | TypeError | FileNotFoundError):
        return _one_line(_os_sentence(error) if isinstance(error, OSError) else str(error)), USAGE
    if isinstance(error, OSError):
        return _one_line(_os_sentence(error)), FAILED
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return _memory_sentence(error), FAILED
    return (
        f"internal error, {type(error).__name__}: {_one_line(str(error))}; {DEBUG_VARIABLE}=1 shows where; please "
        "report it with the output of `bitspike doctor`",
        FAILED,
    )


def _memory_sentence(error: Exception) -> str:
    """Ours say everything already, numpy's how much was wanted."""
    said = _one_line(str(error)) if isinstance(error, MemoryError) else ""
    if said and type(error) is MemoryError:
        return said
    return f"{said or 'not enough memory'}; take smaller batches (--batch, or --set train.batch=...)"


def _missing_module(error: ModuleNotFoundError) -> str:
    if "pip install" in str(error):
        return _one_line(str(error))
    root = (error.name or "a module").partition(".")[0]
    if root == "bitspike":
        return f"this installation of bitspike is not complete, {error.name} is missing; install it again"
    extra = _EXTRAS.get(root)
    remedy = f"pip install 'bitspike[{extra}]'" if extra else f"pip install {root}"
    return f"this command needs {root}, which is not installed: {remedy}"


def _os_sentence(error: OSError) -> str:
    """Ours say everything already; the system's are put into words."""
    if error.strerror is None or not isinstance(error.filename, str):
        return str(error)
    advice = {
        errno.ENOENT: "give an existing file",
        errno.EACCES: "choose another place or change its rights",
        errno.ENOSPC: "free some space or choose another folder",
        errno.EISDIR: "give a file, not a folder",
    }.get(error.errno or 0, "check the path")
    return f"{error.filename}: {error.strerror}; {advice}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _tell(tokens: Sequence[str], error: BaseException, sentence: str, code: int) -> int:
    """The sentence on standard error and, where JSON is asked for, as an object on standard output.

    Nothing where one of several processes that train together has said it.
    """
    if getattr(error, "told_elsewhere", _is_a_follower()):
        time.sleep(1)  # torchrun ends all processes as soon as one has left; the one that speaks needs the time
        return code
    print(f"bitspike: {sentence}", file=sys.stderr)
    if "--json" in tokens:
        print(json.dumps({"error": sentence}))
    return code


def _is_a_follower() -> bool:
    """Whether `torchrun` started several processes with this command line, and this one is not the first."""
    variables = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
    return variables[0] not in ("", "0") and variables[1] not in ("", "1")


class _StandardError(logging.Handler):
    """Log lines on whatever standard error is at the time: progress bars and tests exchange it."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        print(f"{prefix}{record.getMessage()}", file=sys.stderr)


@contextlib.contextmanager
def _plain_speech(*, quiet: bool) -> Iterator[None]:
    """The package's log as plain lines, and warnings without file names and source lines."""
    log, handler = logging.getLogger("bitspike"), _StandardError()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"warning: {_one_line(str(message))}", file=file or sys.stderr)
