"""What `explore` writes into its folder besides the table, so that it can go on and a candidate be made again."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from bitspike.cli.opening import as_trained, data_for, open_model

if TYPE_CHECKING:
    from torch import nn

    from bitspike.data import Dataset
    from bitspike.explore.evaluate import Subject
    from bitspike.explore.finish import Winner
    from bitspike.explore.setting import Setting
    from bitspike.train import ModelHeader, Recipe

BEGUN = "begun.json"
BLOCKS, UNSUPERVISED = "start.safetensors", "start.bsp"
"""What the copy of the model is called, by its kind."""

FURTHER_EPOCHS = 5
STUDY = "exploration"
"""What a study is called in a database where nobody says."""


@dataclass(frozen=True)
class Begun:
    """What an exploration was begun with; paths apart, which may be others on another machine.

    data: the data set's name; validation: share of the train split, where the model's recipe has none; recipe: a
    recipe's name or path for candidates that train, "" for the model's own; train: changes of its `train` table;
    storage: URL of a database without its password, "" for the folder; name: of the study in there.
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
    storage: str = ""
    name: str = STUDY
    asynchronous: bool = False

    def database(self, given: str | None) -> str | None:
        """The URL of the database to go on in; given: the one on the command line, which brings the password."""
        from bitspike.explore.storage import HIDDEN, kept, shown

        if given is not None and kept(given) != self.storage:
            where = f"in {self.storage}" if self.storage else "in its folder, without a database"
            raise ValueError(f"--storage is {shown(given)}, but the exploration was begun {where}; it goes on there")
        if given is None and HIDDEN in self.storage:
            raise ValueError(
                f"the exploration was begun in {self.storage}, whose password is not kept; give it with --storage"
            )
        return given or self.storage or None

    def write(self, folder: Path, model: Path) -> None:
        """Into a folder that holds none, with a copy of the model; a folder that was begun otherwise is refused.

        An exploration is begun once it has a study: where its first try was refused, the next may say something else.
        """
        from bitspike.atomic import atomic_write
        from bitspike.explore.explore import TABLE
        from bitspike.explore.storage import JOURNAL
        from bitspike.stdp.file import is_stdp_file

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
        copy = folder / (UNSUPERVISED if is_stdp_file(model) else BLOCKS)
        there = [folder / name for name in (BLOCKS, UNSUPERVISED) if (folder / name).is_file()]
        if begun and there:
            if there != [copy] or copy.read_bytes() != model.read_bytes():
                raise ValueError(f"{folder} holds an exploration of another model than {model}; choose another folder")
        else:
            shutil.copyfile(model, folder / f".{copy.name}")  # the model may be one of those that are there
            (folder / f".{copy.name}").replace(copy)
            for old in there:
                if old != copy:
                    old.unlink()
        atomic_write(folder / BEGUN, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def read(folder: Path) -> Begun:
        """What the folder of an exploration says."""
        from bitspike.explore.explore import TABLE

        if not (folder / BEGUN).is_file() and (folder / TABLE).is_file():
            raise ValueError(
                f"{folder} holds an exploration that was begun in Python, which alone knows its network; choose there, "
                "with smallest() or best() of what explore gave"
            )
        if not (folder / BEGUN).is_file():
            raise FileNotFoundError(
                f"{folder} holds no exploration; `bitspike explore MODEL --out {folder}` begins one"
            )
        try:
            begun = Begun(**json.loads((folder / BEGUN).read_text()))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{folder / BEGUN} cannot be read: {error}") from None
        return replace(begun, sampler=begun._sampler_before()) if begun.sampler == "auto" else begun

    def _sampler_before(self) -> str:
        """What "auto" was in folders of before `--trials` had a say in it."""
        from bitspike.explore.proposals import EXHAUSTIVE_UP_TO

        size = prod(len(values) for name, values in self.space.items() if name != "base")
        return "exhaustive" if size <= EXHAUSTIVE_UP_TO else "nsga2"


class Opened(Protocol):
    """Network and data of an exploration; `OpenedBlocks`, or `OpenedStdp` of an unsupervised network."""

    suffix: ClassVar[str]
    """Of the file that a picked candidate becomes."""

    @property
    def subject(self) -> Subject:
        """What is explored."""

    def explored(self) -> dict[str, Any]:
        """The arguments of `explore` that depend on the kind of network."""

    def test(self, *, root: Path | None, download: bool) -> Dataset:
        """The test split."""

    @property
    def test_accuracy(self) -> float | None:
        """Of the network that all candidates are made from, where its file tells it of the same data."""

    def save(self, winner: Winner, target: Path) -> list[Path]:
        """Write a picked candidate; the files, the one that ships last."""

    def note(self, source: Path) -> str:
        """What whoever gives this network should know; or nothing."""


@dataclass(frozen=True)
class OpenedBlocks:
    """A network of blocks."""

    begun: Begun
    folder: Path
    net: nn.Module
    header: ModelHeader
    training: Dataset
    validation: Dataset | float
    recipe: Recipe

    suffix: ClassVar[str] = ".safetensors"

    @property
    def subject(self) -> Setting:
        """What all its candidates share."""
        from bitspike.explore import Space
        from bitspike.explore.setting import Setting

        training, validation = split(self.training, self.validation)
        return Setting(
            self.net,
            Space.of(self.begun.space),
            training,
            validation,
            tuple(self.begun.objectives),
            self._calibration,
            self.begun.seed,
            self.recipe,
            self.folder,
            self.begun.statistics,
        )

    def explored(self) -> dict[str, Any]:
        """The arguments of `explore` that depend on the kind of network."""
        return {
            "net": self.net,
            "data": self.training,
            "validation": self.validation,
            "train": self.recipe,
            "calibration": self._calibration,
            "statistics": self.begun.statistics,
        }

    @property
    def _calibration(self) -> tuple[int, int]:
        count, size = self.begun.calibration
        return count, size

    def test(self, *, root: Path | None, download: bool) -> Dataset:
        """The test split."""
        return data_for(self.header, self.begun.data, "test", root=root, download=download)

    @property
    def test_accuracy(self) -> float | None:
        """Of the float network, where its file tells it of the same data."""
        same = (self.header.recipe or {}).get("data", {}).get("name") == self.begun.data
        return self.header.results.get("test_accuracy") if same else None

    def save(self, winner: Winner, target: Path) -> list[Path]:
        """The model file and, beside it, the certified integers."""
        from bitspike.cli.lower import origin
        from bitspike.train import save_model

        header, quant = self.header, winner.made.quant.to_dict()
        recipe = None if header.recipe is None else {**header.recipe, "quant": quant}
        start = {key: value for key, value in header.results.items() if key != "history"}
        provenance = {**header.provenance, "exploration": {"number": winner.row.number, "choices": winner.row.choices}}
        rates = {"firing_rates": winner.row.numbers.get("firing_rates", {})}
        made = replace(
            header,
            quant=quant,
            recipe=recipe,
            provenance=provenance,
            results={**winner.results(), **rates, "start": start, "data": self.begun.data},
        )
        save_model(winner.made.net, target, made)
        integers = winner.made.integers
        about = replace(origin(made, target), certificate=integers.about.certificate)
        integers.save(target.with_suffix(".bsp"), about=about)
        return [target, target.with_suffix(".bsp")]

    def note(self, source: Path) -> str:
        """Whoever gives a network that is quantized already may have meant another file."""
        from bitspike.cli.exploring import quantized_already

        return quantized_already(self.net, source)


def split(training: Dataset, validation: Dataset | float) -> tuple[Dataset, Dataset]:
    """Both splits; a share of the first becomes the second."""
    from bitspike.data import split_validation

    return split_validation(training, validation, seed=0) if isinstance(validation, float) else (training, validation)


def opened(begun: Begun, folder: Path, *, root: Path | None, download: bool) -> Opened:
    """Load what an exploration needs; the validation samples are those that the model's training left out."""
    if (folder / UNSUPERVISED).is_file():
        from bitspike.cli.explored_stdp import opened_stdp

        return opened_stdp(begun, folder, root=root, download=download)
    net, header, _ = open_model(folder / BLOCKS)
    whole = data_for(header, begun.data, "train", root=root, download=download)
    training, validation = as_trained(whole, header)
    return OpenedBlocks(
        begun,
        folder,
        net,
        header,
        training,
        begun.validation if validation is None else validation,
        _recipe(begun, header, net, whole),
    )


def _recipe(begun: Begun, header: ModelHeader, net: nn.Module, data: Dataset) -> Recipe:
    """How candidates train: as a named recipe says, or the model's own, 5 epochs, a third of its rate."""
    from bitspike.explore.setting import default_recipe, time_steps_of
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
