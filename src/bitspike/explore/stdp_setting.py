"""What all candidates of an exploration of an unsupervised network share, and how one is made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitspike.explore.evaluate import Rival, kept_in, seed_of
from bitspike.explore.numbers import RATE_SAMPLES, latency, work_of
from bitspike.explore.space import Choices
from bitspike.explore.stdp_space import StdpSpace
from bitspike.locking import FolderInUse
from bitspike.stdp import StdpBits, StdpConfig, StdpNetwork, StdpRecipe, evaluate, quantized, train_stdp
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.cost import describe, rates_of
from bitspike.stdp.file import KIND, to_bytes
from bitspike.stdp.network import REFERENCE
from bitspike.stdp.training import refuse_other_images

if TYPE_CHECKING:
    from bitspike.data import Dataset


@dataclass(frozen=True)
class StdpMade:
    """A candidate's network, its neurons with classes."""

    network: StdpNetwork
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What its row says of how it is quantized."""
        config = self.network.config
        return {"bits": None if config.bits is None else asdict(config.bits), "seed": config.seed}

    @property
    def certificate(self) -> dict[str, Any] | None:
        """What was compared, once it was."""
        return self.network.about.get("certificate")


@dataclass(frozen=True)
class StdpSetting:
    """The float network and its data; recipe: passes, and how many images give the neurons their classes."""

    net: StdpNetwork
    space: StdpSpace
    training: Dataset
    validation: Dataset
    objectives: tuple[str, ...] = ("accuracy", "memory")
    seed: int = 0
    recipe: StdpRecipe = field(default_factory=StdpRecipe)
    folder: Path | None = None

    def __post_init__(self) -> None:
        bits = self.net.config.bits
        if bits is not None:
            raise ValueError(
                f"the network has weights of {bits.weight} bits already; an exploration starts from a float one, "
                "such as the recipe stdp-mnist-float makes"
            )
        refuse_other_images(replace(self.recipe, network=self.net.config, validation=0), self.training)

    def meaning(self, choices: Choices) -> str:
        """Scheme and widths; widths that do not fit one another are refused."""
        scheme, bits = self.space.widths(choices)
        integer_constants(replace(self.net.config, bits=bits))
        if scheme == "ptq":
            bits = replace(bits, slack=StdpBits.slack)  # of the learning rule alone
        return json.dumps([scheme, asdict(bits)])

    def baseline(self) -> dict[str, Any]:
        """The float network, its classes given anew: those of the file may rest on the validation samples."""
        network = StdpNetwork(self.net.config, self.net.state)
        self._give_classes(network)
        return {
            "accuracy": evaluate(network, self.validation, threads=1).accuracy,
            "memory": describe(network).memory.total,
        }

    def identity(self) -> dict[str, Any]:
        """Network, data, and how candidates are made."""
        bare = to_bytes(StdpNetwork(self.net.config, self.net.state), KIND)
        return {
            "network": hashlib.sha256(bare).hexdigest(),
            "training data": self.training.fingerprint,
            "validation data": self.validation.fingerprint,
            "train": {"passes": self.recipe.passes, "label_images": self.recipe.label_images},
        }

    def make(self, number: int, choices: Choices, rivals: Sequence[Rival] | None = None) -> StdpMade:
        """Quantize what was learned, or learn in integers."""
        scheme, bits = self.space.widths(choices)
        config = replace(self.net.config, seed=seed_of(self.seed, number, "network"))
        if scheme == "ptq":
            network = quantized(StdpNetwork(config, self.net.state), bits)
            self._give_classes(network)
            return StdpMade(network)
        return StdpMade(self._learned(number, replace(config, bits=bits)))

    def numbers(self, made: StdpMade, data: Dataset, objectives: Sequence[str] = ()) -> dict[str, Any]:
        """Accuracy by proportion weighting; memory is that of a device that learns, see `bitspike.stdp.cost`."""
        network = made.network
        found = evaluate(network, data, threads=1)
        rates = None
        if {"operations", "energy"} & set(objectives):
            first = data.subset(slice(0, RATE_SAMPLES))
            rates = rates_of(network, first.inputs.reshape(len(first), -1), found.spikes)
        table = describe(network, rates)
        numbers: dict[str, Any] = {
            "accuracy": found.accuracy,
            "correct": round(found.accuracy * found.samples),
            "samples": found.samples,
            "all_activity": found.accuracies["all-activity"],
            "memory": table.memory.total,
            "parameters": table.parameters,
            "spikes_per_image": round(found.spikes, 4),
            **work_of(table, objectives),
        }
        if "latency" in objectives:
            numbers["latency"] = latency(lambda images: network.respond(images, threads=1), data)
        return numbers

    def again(self, further: int) -> StdpSetting:
        """The same with another seed; what it learns is kept beside that of the first."""
        folder = None if self.folder is None else self.folder / f"seed-{further}"
        return replace(self, seed=self.seed + further, folder=folder)

    def certified(self, made: StdpMade, data: Dataset, samples: int) -> StdpMade:
        """With a note of the images to which the engine responds, spike for spike, as the definition does.

        Without an engine there is none.
        """
        network = made.network
        if network.engine == REFERENCE:
            return made  # nothing to compare the definition with
        count = min(samples, len(data))
        pixels = data.inputs[:count].reshape(count, -1)
        reference = StdpNetwork(network.config, network.state, build=REFERENCE)
        engine = network.respond(pixels)
        if not np.array_equal(engine, reference.respond(pixels)):
            raise RuntimeError(
                f"the engine ({network.engine}) and the definition differ on the first {count} images of {data.name}; "
                "please report this, with the folder of the exploration"
            )
        told = {
            "equal": ["reference", network.engine],
            "data": data.name,
            "split": data.split,
            "samples": count,
            "digest": hashlib.sha256(np.ascontiguousarray(engine, "<i4").tobytes()).hexdigest(),
        }
        about = network.about | {"certificate": told}
        return replace(made, network=replace(network, about=about))

    def _learned(self, number: int, config: StdpConfig) -> StdpNetwork:
        recipe = replace(self.recipe, name="exploration", network=config, data=self.training.name, validation=0)
        place = kept_in(
            self.folder, number, config.to_dict(), recipe.passes, recipe.label_images, self.training.fingerprint
        )
        try:
            return train_stdp(recipe, self.training, out=place, threads=1).network
        except FolderInUse:  # of one that was silent for so long that its candidate was given away, and lives
            return train_stdp(recipe, self.training, threads=1).network

    def _give_classes(self, network: StdpNetwork) -> None:
        chosen = self.training.subset(slice(0, self.recipe.label_images or len(self.training)))
        network.assign_labels(chosen.inputs.reshape(len(chosen), -1), chosen.labels, chosen.classes, threads=1)


def recipe_of(network: StdpNetwork) -> StdpRecipe:
    """How a network came about, as far as its file says."""
    told = network.about.get("recipe") or {}
    known = {name: told[name] for name in ("passes", "label_images", "validation", "data") if name in told}
    return StdpRecipe(network=network.config, **known)
