"""The description of one training run: what a recipe file holds.

A recipe is data only; `recipe_file` finds and reads the files, `run` turns one into a trained network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self

from bitspike.prune.target import Target
from bitspike.spec import QuantSpec
from bitspike.train.augment import AugmentConfig
from bitspike.train.schema import build, check_limits, limits, nearest


@dataclass(frozen=True)
class ModelConfig:
    """Which network, by its name in the registry, and its options (such as `width`)."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig:
    """Which data set, how many time steps, and how much of the training split validates.

    `time_steps` is T: how often an image is shown, or into how many frames a recording is binned. The
    validation part depends on `split_seed` only, so runs with different training seeds share it. `options`
    go to `bitspike.data.load` (and to nothing else).
    """

    name: str
    time_steps: int = field(default=4, metadata=limits(low=1, high=1024))
    validation: float = field(default=0.1, metadata=limits(low=0, high=0.5))
    split_seed: int = field(default=0, metadata=limits(low=0, high=2**32 - 1))
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class TrainConfig:
    """Optimizer, schedule, precision and loss.

    decay            what weight decay pulls on: "weights" of convolutions and linear layers, or "all"
    warmup_epochs    linear rise of the learning rate before the schedule proper
    clip             largest norm of all gradients together; 0 does not clip
    ema              decay of the moving average that is evaluated and kept; 0 keeps the plain weights
    precision        of convolutions: "float32", "bfloat16", or "auto" for bfloat16 where the device has it
    loss             "per-step": mean of the T cross entropies; "time-mean": cross entropy of the mean logits
    validate_every   epochs between validations as integers; 0 validates once, at the end
    """

    epochs: int = field(default=10, metadata=limits(low=1, high=100_000))
    batch: int = field(default=128, metadata=limits(low=1, high=1_000_000))
    optimizer: str = field(default="adamw", metadata=limits(choices=("sgd", "adam", "adamw")))
    lr: float = field(default=1e-3, metadata=limits(above=0, high=100))
    momentum: float = field(default=0.9, metadata=limits(low=0, high=0.9999))
    weight_decay: float = field(default=0.0, metadata=limits(low=0, high=10))
    decay: str = field(default="weights", metadata=limits(choices=("weights", "all")))
    schedule: str = field(default="cosine", metadata=limits(choices=("cosine", "constant")))
    warmup_epochs: float = field(default=0.0, metadata=limits(low=0))
    clip: float = field(default=0.0, metadata=limits(low=0))
    ema: float = field(default=0.0, metadata=limits(low=0, high=0.99999))
    precision: str = field(default="float32", metadata=limits(choices=("float32", "bfloat16", "auto")))
    channels_last: bool = False
    loss: str = field(default="per-step", metadata=limits(choices=("per-step", "time-mean")))
    label_smoothing: float = field(default=0.0, metadata=limits(low=0, high=0.9))
    seed: int = field(default=0, metadata=limits(low=0, high=2**32 - 1))
    validate_every: int = field(default=1, metadata=limits(low=0))

    def __post_init__(self) -> None:
        check_limits(self)
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs:g}; it must be <= epochs, which is {self.epochs}; set both"
            )


@dataclass(frozen=True)
class RegulationConfig:
    """The spike half of Q-SNN's weight-spike dual regulation (the weight half is `quant`'s `normalize`).

    spike_loss   lambda, the factor of the penalty; 0 turns it off (paper 1e-3, official code 5e-3)
    form         "sum" over layers as in the paper, or "mean" as in the official code
    target       the firing rate that is pulled towards
    layers       "hidden": all spiking blocks but the first and the last; "all" for nets too shallow for that
    """

    spike_loss: float = field(default=0.0, metadata=limits(low=0))
    form: str = field(default="sum", metadata=limits(choices=("sum", "mean")))
    target: float = field(default=0.5, metadata=limits(low=0, high=1))
    layers: str = field(default="hidden", metadata=limits(choices=("hidden", "all")))

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class TeacherConfig:
    """A trained network whose logits are learned beside the labels (distillation).

    model        its model file, or the folder of its run; empty: nobody teaches
    weight       share of the teacher in the loss; the labels have the rest
    temperature  of both softmaxes: higher tells more about the wrong classes
    """

    model: str = ""
    weight: float = field(default=0.5, metadata=limits(above=0, high=1))
    temperature: float = field(default=2.0, metadata=limits(above=0, high=100))

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class PruneConfig:
    """Which channels leave the trained network before it is fine-tuned; the fields are those of `bitspike.prune_`.

    quantize   "before": train as `quant` says, score, prune, fine-tune (QP-SNN's order); "after": train and prune
               in float, and quantize for fine-tuning only
    """

    criterion: str = "svs"
    ratios: float | str | dict[str, float] | None = None
    target: dict[str, float] | None = None
    protect: tuple[str, ...] = ()
    keep_at_least: float = field(default=0.1, metadata=limits(low=0, high=1))
    multiple_of: int = field(default=1, metadata=limits(low=1, high=65_536, later=True))
    batches: int = field(default=5, metadata=limits(low=1, high=10_000))
    batch: int = field(default=128, metadata=limits(low=1, high=1_000_000))
    quantize: str = field(default="before", metadata=limits(choices=("before", "after")))

    def __post_init__(self) -> None:
        check_limits(self)
        if self.target == {}:  # how a recipe's own target is taken off: TOML has no word for nothing
            object.__setattr__(self, "target", None)
        if (self.ratios is None) == (self.target is None):
            raise ValueError(
                "pruning takes either ratios (a share, a table of shares by layer, or the name of a preset) or a "
                "target such as {parameters = 0.25}; target = {} takes that of a recipe off"
            )
        if self.target is not None:
            Target.of(self.target)


@dataclass(frozen=True)
class PublishedConfig:
    """The figure a recipe is held against: accuracy as a fraction, and where it was published."""

    accuracy: float | None = field(default=None, metadata=limits(low=0, high=1))
    source: str = ""

    def __post_init__(self) -> None:
        check_limits(self)


_SECTIONS: dict[str, type[Any]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "train": TrainConfig,
    "regulation": RegulationConfig,
    "augment": AugmentConfig,
    "teacher": TeacherConfig,
    "prune": PruneConfig,
    "published": PublishedConfig,
}


@dataclass(frozen=True)
class Recipe:
    """One training run, complete: the same recipe and data give the same network.

    start      model file, or folder of a run, whose network is trained further; empty: fresh weights
    prune      channels that leave after training, or before any where there is a start; None: all stay
    finetune   how the pruned network is trained; a table of it needs only what differs from `train`
    """

    name: str
    model: ModelConfig
    data: DataConfig
    start: str = ""
    quant: QuantSpec = field(default_factory=QuantSpec)
    train: TrainConfig = field(default_factory=TrainConfig)
    regulation: RegulationConfig = field(default_factory=RegulationConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    prune: PruneConfig | None = None
    finetune: TrainConfig | None = None
    published: PublishedConfig = field(default_factory=PublishedConfig)

    def __post_init__(self) -> None:
        # The name becomes a folder of runs/; a recipe from elsewhere must not lead out of there.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(
                f"a recipe's name is {self.name!r}; allowed: letters, digits, dot, dash and underscore. Without a line "
                'name = "..." in it, the name is that of the file'
            )
        if (self.prune is None) != (self.finetune is None):
            missing, there = ("finetune", "prune") if self.finetune is None else ("prune", "finetune")
            raise ValueError(f"the recipe has the table [{there}], but not [{missing}]; pruning needs both")

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], where: str = "recipe") -> Self:
        """Read `to_dict`'s form or a parsed recipe file; `where` opens every error message."""
        allowed = ("name", "quant", "start", "finetune", *_SECTIONS)
        for key in table:
            if key not in allowed:
                raise ValueError(f"{where}: {key} is not a setting; {nearest(str(key), allowed)}")
        for key in ("model", "data"):
            if key not in table:
                raise ValueError(f'{where}: the table [{key}] is missing; it must name the {key}, name = "..."')
            if isinstance(table[key], Mapping) and "name" not in table[key]:
                raise ValueError(f"{where}: {key}.name is missing; it must name the {key}")
        parts = {key: build(_SECTIONS[key], table[key], f"{where}: {key}") for key in _SECTIONS if key in table}
        if "finetune" in table:
            parts["finetune"] = _finetune(parts.get("train", TrainConfig()), table["finetune"], where)
        start = table.get("start", "")
        if not isinstance(start, str):
            raise TypeError(f"{where}: start is {start!r}; it must be the path of a model file")
        quant = _quant(table.get("quant", {}), where)
        return cls(name=str(table.get("name", "recipe")), quant=quant, start=start, **parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold; `from_dict` reads it back to an equal recipe."""
        plain: dict[str, Any] = {"name": self.name, "quant": self.quant.to_dict()}
        if self.start:
            plain["start"] = self.start
        for key in (*_SECTIONS, "finetune"):
            section = getattr(self, key)
            if section is not None:
                plain[key] = _listed(asdict(section))
        return plain

    def training_dict(self) -> dict[str, Any]:
        """What decides the trained weights: everything but names, paths and the published figure.

        Networks that a run starts with or learns from are told by what they are, not by where they lie.
        """
        silent = ("name", "published", "start", "teacher")
        plain = {key: value for key, value in self.to_dict().items() if key not in silent}
        for key in plain.keys() & _SECTIONS.keys():
            for item in fields(_SECTIONS[key]):
                if item.metadata.get("later") and plain[key][item.name] == item.default:
                    del plain[key][item.name]
        return plain

    def with_seed(self, seed: int) -> Recipe:
        """The same recipe under another training seed."""
        finetune = None if self.finetune is None else replace(self.finetune, seed=seed)
        return replace(self, train=replace(self.train, seed=seed), finetune=finetune)


def _finetune(train: TrainConfig, table: object, where: str) -> TrainConfig:
    """`train` with the table's changes; its warm-up belongs to a fresh start and is not taken over."""
    if not isinstance(table, Mapping):
        raise TypeError(f"{where}: finetune is {table!r}; it must be a table of settings")
    return build(TrainConfig, asdict(train) | {"warmup_epochs": 0.0} | dict(table), f"{where}: finetune")


def _quant(value: object, where: str) -> QuantSpec:
    if not isinstance(value, str | Mapping):
        raise TypeError(f'{where}: quant is {value!r}; it must be text such as "1w2u", or a table')
    try:
        return QuantSpec.from_dict(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: quant: {error}") from None


def _listed(value: Any) -> Any:
    """Tuples as lists, so that a recipe compares equal to itself read back from JSON."""
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    return value
