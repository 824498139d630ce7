"""What a run of the unsupervised network is: the network, its data, how often it sees them; read from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bitspike.stdp.config import StdpConfig

TABLE = "stdp"
"""The table that a recipe of this kind has and no other."""


@dataclass(frozen=True)
class StdpRecipe:
    """A run.

    name          of the recipe
    network       constants and widths; its inputs are those of the data
    data          name of a data set of images
    validation    how many images of the training split are held back, for choices; 0: none
    passes        over the rest
    label_images  how many of those give the neurons their classes, the first ones; 0: all
    """

    name: str = "stdp"
    network: StdpConfig = field(default_factory=StdpConfig)
    data: str = "mnist"
    validation: int = 0
    passes: int = 1
    label_images: int = 0

    def __post_init__(self) -> None:
        for name, low in (("validation", 0), ("passes", 1), ("label_images", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise ValueError(f"{TABLE}.{name} is {value!r}; give a whole number of at least {low}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_table(cls, given: Mapping[str, Any]) -> StdpRecipe:
        """The run of a parsed recipe: `name`, the table [stdp], and the tables [network] and [bits]."""
        table = dict(given)
        run, name = dict(table.pop(TABLE, {})), table.pop("name", "stdp")
        network, bits = dict(table.pop("network", {})), table.pop("bits", None)
        if table:
            raise ValueError(f"there is no {next(iter(table))} in such a recipe; allowed: name, stdp, network, bits")
        allowed = [item.name for item in fields(cls) if item.name not in ("name", "network")]
        for key in run:
            if key not in allowed:
                raise ValueError(f"there is no setting {TABLE}.{key}; allowed: {', '.join(allowed)}")
        if bits is not None:
            network["bits"] = bits
        return cls(name=name, network=StdpConfig.from_dict(network), **run)


def read_table(path: Path) -> dict[str, Any]:
    """The tables of a recipe file."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a valid TOML file: {error}") from None
    table.setdefault("name", path.stem)
    return table


def list_stdp_recipes() -> dict[str, Path]:
    """Name -> file of every recipe of this kind that comes with the package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    folders = [package / "recipes" / TABLE]
    if (checkout / "pyproject.toml").is_file():
        folders.append(checkout / "recipes" / TABLE)
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def find_stdp_recipe(name_or_path: str) -> Path | None:
    """The file of a recipe of this kind, by name or path; None for every other recipe."""
    known = list_stdp_recipes()
    if name_or_path in known:
        return known[name_or_path]
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        return None
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return None
    return path if TABLE in table else None


def apply_setting(table: dict[str, Any], setting: str) -> None:
    """Set one value, such as network.neurons=1600, bits.weight=3 or stdp.passes=2, in a parsed recipe."""
    path, equals, text = setting.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or len(keys) != 2 or not all(keys):
        raise ValueError(f'the setting "{setting}" must have the form TABLE.NAME=VALUE, such as network.neurons=1600')
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    here = table.setdefault(keys[0], {})
    if not isinstance(here, dict):
        raise ValueError(f'the setting "{setting}" goes into {keys[0]}, which is not a table but {here!r}')
    here[keys[1]] = value
