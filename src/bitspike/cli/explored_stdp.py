"""An unsupervised network's part of `explore` and `pick`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bitspike.cli.explored import UNSUPERVISED, Begun, split

if TYPE_CHECKING:
    from bitspike.data import Dataset
    from bitspike.explore.finish import Winner
    from bitspike.explore.stdp_setting import StdpSetting
    from bitspike.stdp import StdpNetwork, StdpRecipe


@dataclass(frozen=True)
class OpenedStdp:
    """An unsupervised network, and its data."""

    begun: Begun
    folder: Path
    net: StdpNetwork
    training: Dataset
    validation: Dataset | float
    recipe: StdpRecipe

    suffix: ClassVar[str] = ".bsp"

    @property
    def subject(self) -> StdpSetting:
        """What all its candidates share."""
        from bitspike.explore.stdp_setting import StdpSetting
        from bitspike.explore.stdp_space import StdpSpace

        training, validation = split(self.training, self.validation)
        space, objectives = StdpSpace.of(self.begun.space), tuple(self.begun.objectives)
        return StdpSetting(self.net, space, training, validation, objectives, self.begun.seed, self.recipe, self.folder)

    def explored(self) -> dict[str, Any]:
        """The arguments of `explore` that depend on the kind of network."""
        count, size = self.begun.calibration
        return {
            "net": self.net,
            "data": self.training,
            "validation": self.validation,
            "train": self.recipe,
            "calibration": (count, size),  # refused there where it was given
        }

    def test(self, *, root: Path | None, download: bool) -> Dataset:
        """The test split."""
        from bitspike.cli.opening import load_named

        return load_named(self.begun.data, "test", root=root, download=download)

    @property
    def test_accuracy(self) -> float | None:
        """Of the float network, where its file tells it of the same data."""
        same = self.net.about.get("data", {}).get("name") == self.begun.data
        return self.net.about.get("results", {}).get("test_accuracy") if same else None

    def save(self, winner: Winner, target: Path) -> list[Path]:
        """The network's file."""
        from bitspike.stdp import save

        network: StdpNetwork = winner.made.network
        start, training = self.net.about.get("results", {}), self.subject.training
        about = {
            "recipe": self.net.about.get("recipe"),
            **network.about,
            "data": {
                "name": self.begun.data,
                "images": len(training),
                "fingerprint": training.fingerprint,
                "test_fingerprint": winner.fingerprint,
            },
            "exploration": {"number": winner.row.number, "choices": winner.row.choices},
            "results": winner.results() | {"start": {key: start[key] for key in ("test_accuracy",) if key in start}},
        }
        save(replace(network, about=about), target)
        return [target]

    def note(self, source: Path) -> str:
        """Nothing: quantized networks are refused."""
        return ""


def opened_stdp(begun: Begun, folder: Path, *, root: Path | None, download: bool) -> OpenedStdp:
    """Load what an exploration of an unsupervised network needs, as `opened` does."""
    from bitspike.cli.opening import load_named
    from bitspike.data import split_validation
    from bitspike.explore.stdp_setting import recipe_of
    from bitspike.stdp import StdpRecipe, load
    from bitspike.stdp.recipe import apply_setting

    if begun.recipe:
        raise ValueError("--recipe is for networks of blocks; say how this one learns with --train passes=2")
    net = load(folder / UNSUPERVISED)
    whole = load_named(begun.data, "train", root=root, download=download)
    recipe = recipe_of(net)
    held = recipe.validation if recipe.data == begun.data else 0
    training, validation = split_validation(whole, count=held) if held else (whole, None)
    tables: dict[str, Any] = {"stdp": {"passes": recipe.passes, "label_images": recipe.label_images}}
    for change in begun.train:
        if change.partition("=")[0].strip() not in tables["stdp"]:
            raise ValueError(f"--train {change}: of an unsupervised network, give passes=N or label_images=N")
        apply_setting(tables, f"stdp.{change}")
    changed = replace(StdpRecipe.from_table(tables), network=net.config, data=begun.data)
    return OpenedStdp(begun, folder, net, training, begun.validation if validation is None else validation, changed)
