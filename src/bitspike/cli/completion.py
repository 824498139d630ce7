"""`bitspike completion`: a script that completes commands and options in a shell."""

from __future__ import annotations

from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print a script that completes bitspike's commands in a shell.

    Args:
        shell: bash, zsh or fish.
    """
    from bitspike.cli.app import build_app

    print(build_app().generate_completion(shell=shell))
    return 0
