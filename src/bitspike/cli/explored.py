"""What `explore` writes into its folder besides the table, so that it can go on and a candidate be made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitspike.cli.opening import as_trained, data_for, open_model

if TYPE_CHECKING:
    from torch import nn

    from bitspike.data import Dataset
    from bitspike.explore.evaluate import Setting
    from bitspike.train import ModelHeader, Recipe

BEGUN = "begun.json"
MODEL = "start.safetensors"
FURTHER_EPOCHS = 5


@dataclass(frozen=True)
class Begun:
    """What an exploration was begun with; paths apart, which may be others on another machine.

    data: the data set's name; validation: share of the train split, where the model's recipe has none; recipe: a
    recipe's name or path for candidates that train, "" for the model's own; train: changes of its `train` table.
    """

    data: str
    space: dict[str, Any]
    objectives: list[str]
    sampler: str = "auto"
    trials: int = 100
    generation: int = 16
    validation: float = 0.1
    calibration: list[int] = field(default_factory=lambda: [4, 128])
    seed: int = 0
    recipe: str = ""
    train: list[str] = field(default_factory=list)
    early_stop: bool = False
    statistics: bool = True

    def write(self, folder: Path, model: Path) -> None:
        """Into a folder that holds none, with a copy of the model; a folder that was begun otherwise is refused.

        An exploration is begun once it has a study: where its first try was refused, the next may say something else.
        """
        from bitspike.atomic import atomic_write
        from bitspike.explore.explore import TABLE
        from bitspike.explore.store import JOURNAL

        begun = any((folder / name).is_file() for name in (JOURNAL, TABLE))
        if begun and (folder / BEGUN).is_file():
            other = Begun.read(folder)
            differs = [
                name for name, value in asdict(self).items() if getattr(other, name) != value and name != "trials"
            ]
            if differs:
                raise ValueError(
                    f"{folder} holds an exploration that was begun with another {', '.join(differs)}; go on with "
                    f"--resume {folder}, or choose another folder with --out"
                )
        folder.mkdir(parents=True, exist_ok=True)
        if not begun or not (folder / MODEL).is_file():
            shutil.copyfile(model, folder / f".{MODEL}")
            (folder / f".{MODEL}").replace(folder / MODEL)
        elif (folder / MODEL).read_bytes() != model.read_bytes():
            raise ValueError(f"{folder} holds an exploration of another model than {model}; choose another folder")
        atomic_write(folder / BEGUN, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def read(folder: Path) -> Begun:
        """What the folder of an exploration says."""
        if not (folder / BEGUN).is_file():
            raise FileNotFoundError(
                f"{folder} holds no exploration; `bitspike explore MODEL --out {folder}` begins one"
            )
        try:
            return Begun(**json.loads((folder / BEGUN).read_text()))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / BEGUN} cannot be read: {error}") from None


@dataclass(frozen=True)
class Opened:
    """Network and data of an exploration."""

    net: nn.Module
    header: ModelHeader
    training: Dataset
    validation: Dataset | float
    recipe: Recipe

    def setting(self, begun: Begun, folder: Path) -> Setting:
        """What all its candidates share."""
        from bitspike.data import split_validation
        from bitspike.explore import Space
        from bitspike.explore.evaluate import Setting

        training, validation = self.training, self.validation
        if isinstance(validation, float):
            training, validation = split_validation(training, validation, seed=0)
        count, size = begun.calibration
        return Setting(
            self.net,
            Space.of(begun.space),
            training,
            validation,
            tuple(begun.objectives),
            (count, size),
            begun.seed,
            self.recipe,
            folder,
            begun.statistics,
        )


def opened(begun: Begun, model: Path, *, root: Path | None, download: bool) -> Opened:
    """Load what an exploration needs; the validation samples are those that the model's training left out."""
    net, header, _ = open_model(model)
    whole = data_for(header, begun.data, "train", root=root, download=download)
    training, validation = as_trained(whole, header)
    return Opened(
        net,
        header,
        training,
        begun.validation if validation is None else validation,
        _recipe(begun, header, net, whole),
    )


def _recipe(begun: Begun, header: ModelHeader, net: nn.Module, data: Dataset) -> Recipe:
    """How candidates train: as a named recipe says, or the model's own, 5 epochs, a third of its rate."""
    from bitspike.explore.evaluate import default_recipe, time_steps_of
    from bitspike.train import read_recipe
    from bitspike.train.config import Recipe
    from bitspike.train.recipe_file import apply_override

    if begun.recipe:
        return read_recipe(begun.recipe, [f"train.{change}" for change in begun.train])
    if header.recipe is None:
        plain = default_recipe(data, time_steps_of(net, data)).to_dict()
    else:
        plain = Recipe.from_dict(header.recipe).to_dict()
        plain["train"] |= {"epochs": FURTHER_EPOCHS, "warmup_epochs": 0.0, "lr": plain["train"]["lr"] / 3}
    for change in begun.train:
        apply_override(plain, f"train.{change}")
    return Recipe.from_dict(plain, "the recipe of candidates that train")
