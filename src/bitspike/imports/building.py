"""What both ways of importing share: the test batch, from layers to a network, the comparison, the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitspike.data.arrays import channel_numbers, is_bound
from bitspike.imports.assemble import Assembler, Carried
from bitspike.imports.check import Compared, compare
from bitspike.imports.layers import CannotImport, Neuron, Nothing, Seen, Weighted
from bitspike.imports.report import ImportedLayer, ImportReport
from bitspike.model import SequenceNet, create_model
from bitspike.model.shape import checked_shape
from bitspike.spec import Override, QuantSpec, neuron_fields

BATCH = 7
"""Samples of random pixels where none are given; a number that is seldom one of time steps or channels."""

Samples = Tensor | NDArray[np.uint8]


@dataclass(frozen=True)
class Entrance:
    """How samples enter: shape (C, H, W), time steps, and either mean and std of pixels or a bound of counts."""

    shape: tuple[int, int, int]
    steps: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    bound: int | None

    @classmethod
    def of(
        cls,
        input_shape: Sequence[int],
        time_steps: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        bound: int | None,
    ) -> Entrance:
        """Checked; a row of features is a map of one pixel."""
        shape = checked_shape(input_shape if len(tuple(input_shape)) != 1 else (*input_shape, 1, 1))
        if isinstance(time_steps, bool) or not isinstance(time_steps, Integral) or time_steps < 1:
            raise ValueError(f"time_steps is {time_steps!r}; it must be a whole number, 1 or more")
        if bound is not None and not is_bound(bound):
            raise ValueError(f"bound is {bound!r}; give the largest count, a whole number from 1 to 255")
        means, deviations = channel_numbers("mean", mean, shape[0]), channel_numbers("std", std, shape[0])
        if len(means) != shape[0] or len(deviations) != shape[0]:
            raise ValueError(f"mean is {mean}, std is {std}; give one number, or one for each of {shape[0]} colours")
        if not all(math.isfinite(value) for value in means) or not all(0 < value < math.inf for value in deviations):
            raise ValueError(f"mean is {mean}, std is {std}; give numbers, and a std above 0")
        if bound is not None and (any(means) or any(value != 1 for value in deviations)):
            raise ValueError(f"mean is {mean}, std is {std}; leave them out beside a bound: counts enter as they are")
        return cls(shape, int(time_steps), means, deviations, None if bound is None else int(bound))

    @property
    def zero_point(self) -> Tensor:
        """What is subtracted of the pixels, [C, 1, 1]: whole pixels."""
        return torch.tensor([int(255 * value + 0.5) for value in self.mean]).double().reshape(-1, 1, 1)

    def samples(self, given: Samples | None, seed: int) -> Tensor:
        """A test batch, uint8: [B, C, H, W] of images, [T, B, C, H, W] of counts."""
        lead = () if self.bound is None else (self.steps,)
        if given is None:
            high = 255 if self.bound is None else self.bound
            generator = torch.Generator().manual_seed(seed)
            return torch.randint(0, high + 1, (*lead, BATCH, *self.shape), dtype=torch.uint8, generator=generator)
        batch = torch.as_tensor(given)
        if batch.dtype != torch.uint8:
            raise TypeError(f"samples are {batch.dtype}; give uint8 pixels or counts, as a data set's inputs are")
        batch = batch.reshape(*batch.shape[: len(lead) + 1], *self.shape) if batch.dim() == len(lead) + 2 else batch
        if batch.dim() != len(lead) + 4 or batch.shape[-3:] != self.shape or tuple(batch.shape[: len(lead)]) != lead:
            layout = [*lead, "B", *self.shape]
            raise ValueError(f"samples have the shape {list(batch.shape)}; needed is {layout}")
        if self.bound is not None and int(batch.max()) > self.bound:
            raise ValueError(f"samples reach {int(batch.max())}, above the bound {self.bound}; clip them there")
        if batch.shape[len(lead)] < 2:
            raise ValueError("give two samples or more; of one, batch and channels could be taken for each other")
        return batch

    def seen_by_source(self, samples: Tensor) -> Tensor:
        """The same in the source's units, [T, B, C, H, W] in float64."""
        if self.bound is not None:
            return samples.double()
        std = torch.tensor(self.std).double().reshape(-1, 1, 1)
        return ((samples.double() - self.zero_point) / (255 * std)).expand(self.steps, *samples.shape)

    def assembler(self) -> Assembler:
        """One that begins with this input."""
        if self.bound is not None:
            return Assembler(self.shape, 1.0)
        colours = torch.tensor(self.std[0]).double() / torch.tensor(self.std).double()
        differ = len(set(self.std)) > 1
        return Assembler(self.shape, 1 / (255 * self.std[0]), colours if differ else None)

    def options(self) -> dict[str, Any]:
        """Arguments of `create_model`."""
        options: dict[str, Any] = {"input_shape": list(self.shape), "time_steps": self.steps}
        if self.bound is not None:
            return options | {"bound": self.bound, "std": 1.0}
        return options | {"mean": list(self.mean), "std": self.std[0]}

    def notes(self) -> list[str]:
        """What was not carried to the last digit."""
        rounded = [float(value) / 255 for value in self.zero_point.flatten()]
        if self.bound is not None or all(abs(a - b) < 1e-9 for a, b in zip(rounded, self.mean, strict=True)):
            return []
        said = ", ".join(f"{value:.5f}" for value in rounded)
        return [f"the mean is rounded to whole pixels, {said}; the source was compared with inputs of that mean"]


def build(seen: list[Seen], entrance: Entrance, samples: Tensor, origin: str, *, returned: bool = True) -> nn.Module:
    """The network that the layers are, its spikes compared with theirs; `net.imported` tells what came over.

    returned: whether the source's own result is what its last layer gives.
    """
    assembler = entrance.assembler()
    for item in seen:
        assembler.take(item.layer)
    made = assembler.finish()
    spec = QuantSpec(overrides=tuple(_override(item) for item in made.carried if item.membrane is not None))
    options = entrance.options() | {"classes": made.classes, "layers": made.tables}
    net = cast(SequenceNet, create_model("sequence", spec=spec, **options)).eval()
    _fill(net, made.parameters)
    results, labels = _results(seen, made.carried)
    compared = compare(net, samples, results, labels)
    ignored = tuple(item.layer.name for item in seen if isinstance(item.layer, Nothing) and item.layer.name)
    notes = entrance.notes()
    if made.counts_spikes and not returned:
        notes.append(
            "classes are read from spike counts here; the source returns something else, such as membranes, so its "
            "classes may be others"
        )
    report = _report(origin, made.carried, compared, ignored, notes, int(samples.shape[-4]))
    cast(Any, net).imported = report
    return net


def _override(item: Carried) -> Override:
    if item.membrane is None:
        raise ValueError(f"{item.name} has no neurons")
    return Override(item.name, (), tuple(neuron_fields(item.membrane).items()))


@torch.no_grad()
def _fill(net: nn.Module, parameters: dict[str, Tensor]) -> None:
    state = net.state_dict()
    unknown = set(parameters) ^ {name for name in state if not name.endswith("zero")}
    if unknown:
        raise ValueError(f"the network has other parameters than were made for it: {', '.join(sorted(unknown))}")
    for name, value in parameters.items():
        state[name].copy_(value)
        if not bool(state[name].isfinite().all()):
            raise CannotImport(name, "holds numbers that are NaN, infinite, or too large for float32")


def _results(seen: list[Seen], carried: list[Carried]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Of our layers with weights the source's results and what the source calls them."""
    ours = {source: item.name for item in carried for source in item.sources}
    results: dict[str, Tensor] = {}
    labels: dict[str, str] = {}
    for item in seen:
        name = ours.get(item.layer.name)
        if name is None:
            continue
        if isinstance(item.layer, Weighted | Neuron):
            labels[name] = item.layer.name
        results[name] = item.result  # of its last layer in the end
    return results, labels


def _report(
    origin: str,
    carried: list[Carried],
    compared: list[Compared],
    ignored: tuple[str, ...],
    notes: list[str],
    samples: int,
) -> ImportReport:
    by_name = {item.name: item for item in compared}
    layers = []
    for item in carried:
        at = next((by_name[source] for source in item.sources if source in by_name), None)
        layers.append(ImportedLayer(item.name, item.sources, item.membrane, item.note, at))
    silent = [layer.name for layer in layers if layer.compared is not None and layer.compared.rate == 0]
    if silent:
        notes = [*notes, f"{', '.join(silent)} never fired on the test batch, so little was compared; give samples"]
    return ImportReport(origin, tuple(layers), ignored, tuple(notes), samples)
