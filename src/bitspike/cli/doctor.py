"""`bitspike doctor`: what is installed, what is missing, and whether the core works."""

from __future__ import annotations

import os
from typing import Any

from bitspike.cli.options import Json
from bitspike.cli.output import Output, table


def doctor(*, json: Json = False) -> int:
    """What is installed, what is missing, and whether the core works.

    Exit code 1 only where bitspike itself is broken; what is merely missing is named with its remedy.
    """
    from bitspike.cli import system
    from bitspike.cli.self_check import self_check

    output = Output(json)
    packages = system.packages()
    check = self_check()
    found: dict[str, Any] = {
        "bitspike": system.bitspike_version(),
        "python": system.python(),
        "platform": system.platform_name(),
        "packages": packages,
        "compiler": system.compiler(),
        "instruction_sets": system.instruction_sets(),
        "threads": system.threads(),
        "gpus": system.gpus(),
        "engine": system.engine(),
        "engine_builds": list(system.engine_builds()),
        "data_roots": system.data_folders(),
        "datasets": system.datasets(),
        "self_check": check,
    }
    broken = [item["name"] for item in packages if item["needed"] == "core" and item["version"] is None]
    found["missing"] = _missing(packages, found)
    found["healthy"] = not broken and check["passed"] is not False
    _show(output, found)
    output.finish(found)
    return 0 if found["healthy"] else 1


def _missing(packages: list[dict[str, Any]], found: dict[str, Any]) -> list[dict[str, str]]:
    """What is not there, what it would bring, and how to get it."""
    absent = [
        {"name": item["name"], "brings": item["brings"], "remedy": item["remedy"]}
        for item in packages
        if item["version"] is None
    ]
    if not found["engine_builds"]:
        remedy = "install a C compiler, then bitspike again; in a checkout, `make engine` shows why it failed"
        if os.environ.get("BITSPIKE_ENGINE_LIBRARY"):
            remedy = "BITSPIKE_ENGINE_LIBRARY names a library that cannot be used; correct it or leave it out"
        absent.append({"name": "engine", "brings": "running networks fast and without torch", "remedy": remedy})
    if found["compiler"] is None:
        absent.append(
            {
                "name": "C compiler",
                "brings": "building the engine and exported C",
                "remedy": "install gcc or clang, such as apt-get install gcc libc6-dev",
            }
        )
    return absent


def _show(output: Output, found: dict[str, Any]) -> None:
    rows = [("bitspike", found["bitspike"]), ("Python", found["python"]), ("platform", found["platform"])]
    rows += [(item["name"], item["version"] or "missing") for item in found["packages"]]
    present = [item["name"] for item in found["datasets"] if item["present"]]
    rows += [
        ("C compiler", found["compiler"] or "missing"),
        ("instruction sets", " ".join(found["instruction_sets"]) or "unknown"),
        ("threads", f"{found['threads']['usable']} usable, {found['threads']['torch'] or 'none'} used by torch"),
        ("GPU", ", ".join(found["gpus"]) or "none that torch sees"),
        ("engine", found["engine"]),
        ("data folders", ", ".join(found["data_roots"])),
        ("data sets there", ", ".join(present) or "none"),
        ("self check", found["self_check"]["detail"]),
    ]
    output.show(table("", ("", ""), rows, left=(0, 1)))
    for item in found["missing"]:
        output.show(f"{item['name']} is missing ({item['brings']}): {item['remedy']}")
    output.show("bitspike works" if found["healthy"] else "bitspike is BROKEN here; the lines above say where")
