"""Recipe files: where they lie, how they are read, how flags override them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bitspike.train.config import Recipe
from bitspike.train.schema import nearest


def recipe_folders() -> list[Path]:
    """The folders that hold recipes: in an installed package beside its code, in a checkout at the root."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    folders = [package / "recipes"]
    if (checkout / "pyproject.toml").is_file():
        folders.append(checkout / "recipes")
    return [folder for folder in folders if folder.is_dir()]


def list_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that comes with the package."""
    files = [path for folder in recipe_folders() for path in sorted(folder.glob("*.toml"))]
    return {path.stem: path for path in files}


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe, given by a name such as "qsnn-mnist-1w2u" or by a path."""
    text = str(name_or_path)
    known = list_recipes()
    if text in known:
        return known[text]
    path = Path(text).expanduser()
    if path.is_file():
        return path
    if path.suffix == ".toml" or len(path.parts) > 1:
        raise FileNotFoundError(f"there is no recipe file {path}; give an existing file or one of {', '.join(known)}")
    raise ValueError(f'there is no recipe "{text}"; {nearest(text, known)}')


def read_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as "train.epochs=3" or "quant=1w4u"."""
    path = find_recipe(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a valid TOML file: {error}") from None
    table.setdefault("name", path.stem)
    changed = list(overrides)
    for override in changed:
        apply_override(table, override)
    where = str(path) if not changed else f"{path} with {' '.join(changed)}"
    return Recipe.from_dict(table, where)


def apply_override(table: dict[str, Any], override: str) -> None:
    """Set one value, "dotted.path=value", in a parsed recipe; the value is TOML, or text if it is none."""
    path, equals, text = override.partition("=")
    keys = _keys(path)
    if not equals or not keys:
        raise ValueError(f'the override "{override}" must have the form section.field=value, such as train.epochs=3')
    if keys[0] == "quant" and len(keys) > 1 and isinstance(table.get("quant"), str):
        # The short form becomes the base of a table, whose single fields can then be set.
        table["quant"] = {"bits": table["quant"]}
    here = table
    for key in keys[:-1]:
        here = here.setdefault(key, {})
        if not isinstance(here, dict):
            raise ValueError(f'the override "{override}" goes into {key}, which is not a table but {here!r}')
    here[keys[-1]] = value_of(text.strip())


_KEY = r'\s*(?:"[^"]*"|[^."]+)\s*'


def _keys(path: str) -> list[str]:
    """A dotted path as its way through the tables, none if it is no path; names of layers may hold dots themselves."""
    if not re.fullmatch(rf"{_KEY}(?:\.{_KEY})*", path):
        return []
    keys = [key.strip().strip('"') for key in re.findall(_KEY, path)]
    last = 2 if keys[-2:-1] in (["weight"], ["membrane"]) else 0
    if keys[:2] in (["quant", "override"], ["prune", "ratios"]) and len(keys) > 3 + last:
        keys = [*keys[:2], ".".join(keys[2 : len(keys) - last]), *keys[len(keys) - last :]]
    return keys if all(keys) else []


def value_of(text: str) -> Any:
    """A value as TOML has it, or the text itself if it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
