"""From layers of another library to the tables and the parameters of a `sequence` network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bitspike.imports.composed import behind_average
from bitspike.imports.layers import (
    CannotImport,
    Flattening,
    Joining,
    Layer,
    Neuron,
    Norm,
    Pooling,
    Scaling,
    Voting,
    Weighted,
)
from bitspike.imports.parameters import Scaled, scaled, scaled_pair, with_norm
from bitspike.imports.skips import Place, Side, side_of
from bitspike.spec import MembraneSpec

_ONE = torch.ones((), dtype=torch.float64)
_NAME = re.compile(r"\W+")


@dataclass(frozen=True)
class Carried:
    """A weighted layer as it came over: our name, the names of what it was made of, its neurons."""

    name: str
    sources: tuple[str, ...]
    membrane: MembraneSpec | None = None
    note: str = ""


@dataclass
class Assembly:
    """Tables for `sequence`, parameters by name ("conv1.weight"), and what came over.

    counts_spikes: its readout counts the spikes of the last neurons.
    """

    tables: list[dict[str, Any]] = field(default_factory=list)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    carried: list[Carried] = field(default_factory=list)
    classes: int = 0
    counts_spikes: bool = False


@dataclass
class _Open:
    """Weights whose neurons have not come yet."""

    weights: Weighted
    norm: Norm | None = None
    flatten: bool = False
    factor: Tensor = _ONE
    largest: Pooling | None = None  # a max pool behind the weights
    side: Side | None = None  # what is added to them
    sources: list[str] = field(default_factory=list)


class Assembler:
    """Takes layers one after the other."""

    def __init__(self, shape: Sequence[int], scale: float, colours: Tensor | None = None) -> None:
        """Shape (C, H, W) of the input; scale: the value of one unit of it; colours [C]: a factor for each colour."""
        self.made = Assembly()
        self._shape = tuple(shape)
        self._scale = scale
        self._colours = colours
        self._open: _Open | None = None
        self._values = "input"  # input | spikes | counts
        self._votes: Voting | None = None
        self._places: dict[str, Place] = {}  # by the source's names, what neurons and pools gave

    def take(self, layer: Layer) -> None:
        """The next layer of the chain."""
        if self._votes is not None:
            raise CannotImport(self._votes.name, f"is not the last layer; {layer.name} comes behind it")
        match layer:
            case Weighted():
                self._weights(layer)
            case Norm():
                self._norm(layer)
            case Neuron():
                self._neurons(layer)
            case Pooling():
                self._pooling(layer)
            case Flattening():
                self._flatten()
            case Voting():
                self._voting(layer)
            case Scaling():
                self._scaling(layer)
            case Joining():
                self._joining(layer)
            case _:
                pass  # it does nothing
        if self._open is None and self.made.tables:
            self._places[layer.name] = Place(self.made.tables[-1]["name"], self._shape, self._scale, self._values)

    def finish(self) -> Assembly:
        """Close with a readout."""
        if self._open is not None:
            self._linear_readout(self._open)
        else:
            self._spike_readout()
        return self.made

    # ---- one kind of layer each ----

    def _weights(self, layer: Weighted) -> None:
        if self._open is not None:
            raise CannotImport(
                layer.name, f"follows {self._open.weights.name} with no spiking neurons between them; put some there"
            )
        if layer.is_convolution and len(self._shape) == 1:
            raise CannotImport(layer.name, "is a convolution of rows that were flattened before; move the Flatten")
        if not layer.is_convolution and len(self._shape) == 3:
            self._flatten()
        inputs = layer.weight.shape[1]
        if inputs != self._shape[0]:
            raise CannotImport(layer.name, f"takes {inputs} inputs and gets {self._shape[0]}; is input_shape right?")
        if self._colours is not None:
            factors = self._colours.repeat_interleave(inputs // len(self._colours))
            layer = replace(layer, weight=layer.weight * factors.reshape(-1, *(1,) * (layer.weight.dim() - 2)))
            self._colours = None
        self._open = _Open(layer, sources=[layer.name])

    def _joining(self, layer: Joining) -> None:
        behind = self._open
        if behind is None:
            raise CannotImport(
                layer.name,
                "adds to spikes, so that counts go on, as in SEW's residual blocks; neurons of ours give 0 and 1: add "
                "before the neurons",
            )
        if behind.side is not None:
            raise CannotImport(layer.name, f"comes behind {behind.side.name}; one sum can be before a layer of neurons")
        if behind.largest is not None or behind.flatten or not behind.weights.is_convolution:
            raise CannotImport(layer.name, "adds to rows, or behind a pool; skips join convolutions' own sums")
        behind.side = side_of(layer, None if layer.origin is None else self._places.get(layer.origin))
        behind.sources += behind.side.sources

    def _norm(self, layer: Norm) -> None:
        if self._open is None or self._open.norm is not None or self._open.side is not None:
            raise CannotImport(layer.name, "is a batch norm that does not stand right behind a Conv2d or a Linear")
        self._open.sources.append(layer.name)
        if self._open.largest is None:
            self._open.norm = layer
            return
        # A block normalizes before it pools; statistics of maxima would be others there as soon as it trains further.
        _refuse_falling(layer.name, "gain", layer.gamma)
        self._open.weights = with_norm(self._open.weights, layer)

    def _pooling(self, layer: Pooling) -> None:
        if len(self._shape) != 3:
            raise CannotImport(layer.name, "pools rows that were flattened before; move the Flatten behind it")
        if self._open is not None:
            self._pooled_sums(self._open, layer)
            return
        if self._values == "input":
            raise CannotImport(layer.name, "pools the input; pool the data before, and import the rest of the network")
        if layer.kind == "max" and self._values == "counts":
            raise CannotImport(layer.name, "takes the maximum of averages; blocks take that of spikes: swap the pools")
        channels, height, width = self._shape
        kernel = (height, width) if layer.kernel is None else layer.kernel
        stride = kernel if layer.stride is None else layer.stride
        if layer.kernel is None:
            self._table("global_sum_pool", layer.name)
        else:
            kind = "max_pool" if layer.kind == "max" else "sum_pool"
            if any(layer.padding[i] > kernel[i] // 2 for i in range(2)):
                raise CannotImport(layer.name, f"pads by {list(layer.padding)}, more than half of its {list(kernel)}")
            padding = {"padding": list(layer.padding)} if any(layer.padding) else {}
            self._table(kind, layer.name, kernel=list(kernel), stride=list(stride), **padding)
        sizes = ((height, width)[i] + 2 * layer.padding[i] for i in range(2))
        self._shape = (channels, *((size - kernel[i]) // stride[i] + 1 for i, size in enumerate(sizes)))
        if layer.kind == "average":
            self._scale /= kernel[0] * kernel[1]
        if layer.kind != "max":
            self._values = "counts"

    def _pooled_sums(self, behind: _Open, layer: Pooling) -> None:
        """Pooling between weights and neurons: an average goes into the weights, a maximum into the block."""
        if layer.kernel is None or layer.stride is None or behind.flatten or not behind.weights.is_convolution:
            raise CannotImport(layer.name, "pools whole maps or rows between weights and neurons; pool windows of maps")
        if any(layer.padding):
            raise CannotImport(layer.name, "pools with padding between weights and neurons; put it behind the neurons")
        if behind.largest is not None:
            raise CannotImport(layer.name, f"pools what {behind.largest.name} pooled; put neurons between the two")
        if behind.side is not None:
            raise CannotImport(layer.name, f"pools {behind.side.name}; put neurons between the two")
        if layer.kind == "max":
            behind.largest = layer
        else:
            behind.weights = behind_average(behind.weights, layer)
        behind.sources.append(layer.name)

    def _flatten(self) -> None:
        if self._open is not None:
            self._open.flatten = self._open.weights.is_convolution
        elif len(self._shape) == 3:
            self._table("flatten", "")
            self._shape = (self._shape[0] * self._shape[1] * self._shape[2],)

    def _voting(self, layer: Voting) -> None:
        if self._open is not None or len(self._shape) != 1 or self._shape[0] % layer.size:
            raise CannotImport(layer.name, f"does not vote on spikes of rows that {layer.size} divides")
        self._votes = layer

    def _scaling(self, layer: Scaling) -> None:
        if self._open is None:
            if layer.factor.numel() > 1 and bool((layer.factor != layer.factor.flatten()[0]).any()):
                raise CannotImport(layer.name, "scales spikes by different factors; scale the next weights instead")
            if float(layer.factor.flatten()[0]) <= 0:
                raise CannotImport(layer.name, "scales spikes by zero or less; scale the next weights instead")
            self._scale *= float(layer.factor.flatten()[0])
            return
        if self._open.side is not None:
            raise CannotImport(layer.name, f"scales {self._open.side.name}; scale what is added")
        factor = _per_channel(layer.name, "factor", layer.factor, self._after(self._open))
        if self._open.largest is not None:
            _refuse_falling(layer.name, "factor", factor)
        self._open.factor = self._open.factor * factor
        self._open.sources.append(layer.name)

    def _neurons(self, layer: Neuron) -> None:
        if self._open is None:
            raise CannotImport(layer.name, "has no Conv2d or Linear right before it; every layer of ours has weights")
        done, self._open = self._open, None
        weights, maps = done.weights, self._after(done)
        channels = weights.weight.shape[0]
        threshold = _per_channel(layer.name, "threshold", layer.threshold, maps)
        gain = _per_channel(layer.name, "gain", layer.gain, maps)
        if done.largest is not None:
            _refuse_falling(layer.name, "gain", gain)
        side_gain, gain = gain, gain * done.factor
        drive = _per_channel(layer.name, "constant input", layer.drive, maps)
        if bool((threshold <= 0).any()):
            raise CannotImport(layer.name, "has a threshold that is not positive; it would fire all the time")
        if threshold.numel() > 1:  # a threshold of its own for every channel goes into the gain
            gain, side_gain, drive = gain / threshold, side_gain / threshold, drive / threshold
            threshold = torch.ones((), dtype=torch.float64)
        if done.side is not None and done.side.weights is None:  # spikes count 1, so that is the unit of potentials
            unit = _one_unit(layer.name, side_gain)
            gain, drive, threshold = gain / unit, drive / unit, threshold / unit
        fixed = self._scaled(done, gain, side_gain, drive)
        normed = "norm.weight" in fixed.parameters
        values: dict[str, Any] = {"channels": channels, "bias": "bias" in fixed.parameters}
        values |= {"norm": normed, "input_scale": fixed.scale}
        if done.norm is not None and normed:
            values["eps"] = done.norm.eps
        if done.side is not None:
            values["skip"] = done.side.table(own="skip_norm.weight" in fixed.parameters)
        if weights.is_convolution:
            kernel, stride, padding = (list(x) for x in (weights.weight.shape[2:], weights.stride, weights.padding))
            values |= {"kernel": kernel, "stride": stride, "padding": padding}
        if done.largest is not None and done.largest.kernel is not None:
            steps = done.largest.stride or done.largest.kernel
            values["pool_sums"] = {"kernel": list(done.largest.kernel), "stride": list(steps)}
        name = self._table("conv" if weights.is_convolution else "linear", weights.name, **values)
        self.made.parameters |= {f"{name}.{key}": value for key, value in fixed.parameters.items()}
        membrane = _membrane(layer, float(threshold))
        self.made.carried.append(Carried(name, (*done.sources, layer.name), membrane, layer.note))
        self._shape, self._scale, self._values = maps, 1.0, "spikes"
        if done.flatten:
            self._flatten()

    def _scaled(self, done: _Open, gain: Tensor, side_gain: Tensor, drive: Tensor) -> Scaled:
        """The parameters of what stands before neurons."""
        side = done.side
        if side is None or side.weights is None:
            return scaled(done.weights, done.norm, gain, drive, self._scale)
        main = (done.weights, done.norm, gain, self._scale)
        return scaled_pair(main, (side.weights, side.norm, side_gain, side.place.scale), drive)

    def _after(self, layer: _Open) -> tuple[int, ...]:
        """Shape of what a weighted layer gives, behind its pool if it has one."""
        weights, pool = layer.weights, layer.largest
        outputs = weights.weight.shape[0]
        if not weights.is_convolution:
            return (outputs,)
        kernel, stride, padding = weights.weight.shape[2:], weights.stride, weights.padding
        sizes = [(self._shape[1 + i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2)]
        if pool is not None and pool.kernel is not None:
            steps = pool.stride or pool.kernel
            sizes = [(sizes[i] - pool.kernel[i]) // steps[i] + 1 for i in range(2)]
        return (outputs, *sizes)

    # ---- the end ----

    def _linear_readout(self, last: _Open) -> None:
        weights = last.weights
        if weights.is_convolution:
            raise CannotImport(weights.name, "is a convolution at the end; end with a Linear, or with spiking neurons")
        weight, bias = weights.weight, weights.bias
        if last.norm is not None:
            weights = with_norm(weights, last.norm)
            weight, bias = weights.weight, weights.bias
        factor = last.factor.expand(len(weight)).unsqueeze(1)
        weight, bias = weight * factor, None if bias is None else bias * factor.squeeze(1)
        name = self._table("readout", weights.name, bias=bias is not None, input_scale=self._scale)
        self.made.parameters |= {f"{name}.weight": weight} | ({} if bias is None else {f"{name}.bias": bias})
        self.made.carried.append(Carried(name, tuple(last.sources)))
        self.made.classes = len(weight)

    def _spike_readout(self) -> None:
        """Spikes are counted: a readout that adds up each class's own."""
        if self._values == "input":
            raise CannotImport("", "holds no spiking neurons behind weights")
        self._flatten()
        features, size = self._shape[0], 1 if self._votes is None else self._votes.size
        sources = () if self._votes is None else (self._votes.name,)
        weight = torch.eye(features // size, dtype=torch.float64).repeat_interleave(size, 1)
        name = self._table("readout", "", bias=False, input_scale=self._scale / size)
        self.made.parameters[f"{name}.weight"] = weight
        self.made.carried.append(Carried(name, sources, note="counts the spikes of every class"))
        self.made.classes, self.made.counts_spikes = len(weight), True

    def _table(self, kind: str, name: str, **values: Any) -> str:
        """Add a table under a name that an attribute can have, near the source's."""
        taken = {table["name"] for table in self.made.tables} | {"input"}
        chosen = _NAME.sub("_", name) or kind
        chosen = chosen if not chosen[0].isdigit() else f"{kind}{chosen}"
        if hasattr(torch.nn.Module(), chosen) or chosen == "sequence":
            chosen = f"{chosen}_"
        plain, number = chosen, 2
        while chosen in taken:
            chosen, number = f"{plain}_{number}", number + 1
        self.made.tables.append({"kind": kind, "name": chosen, **values})
        return chosen


def _per_channel(name: str, what: str, value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """One number, or one a channel: [C]; refused where neurons of a channel differ."""
    if value.numel() == 1 or bool((value == value.flatten()[0]).all()):
        return value.flatten()[0]
    channels = shape[0]
    while value.dim() > 1 and value.shape[0] == 1:
        value = value[0]
    if value.dim() < 1 or value.shape[0] != channels or value.numel() not in (channels, _size(shape)):
        raise CannotImport(name, f"has a {what} of shape {list(value.shape)} where its values are {list(shape)}")
    rows = value.reshape(channels, -1)
    if bool((rows != rows[:, :1]).any()):
        raise CannotImport(name, f"has a {what} of its own for every neuron; blocks have one per channel")
    return rows[:, 0]


def _one_unit(name: str, gain: Tensor) -> Tensor:
    """The gain of neurons that plain spikes join: the same positive one for all channels."""
    unit = gain.flatten()[0]
    if bool((gain != unit).any()) or float(unit) <= 0:
        raise CannotImport(
            name, "has a gain or a threshold of its own for every channel, where spikes join as they are"
        )
    return unit


def _refuse_falling(name: str, what: str, factor: Tensor) -> None:
    """Behind a maximum: blocks take it last, and a negative factor would make a minimum of it."""
    if bool((factor < 0).any()):
        raise CannotImport(name, f"has a negative {what} behind a max pool; put the pool behind it, and train a little")


def _size(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())


def _membrane(layer: Neuron, threshold: float) -> MembraneSpec:
    subtract = None if layer.hard or layer.ratio == 1 else layer.ratio * threshold
    return MembraneSpec(
        reset="hard" if layer.hard else "soft",
        leak=layer.leak,
        threshold=threshold,
        subtract=subtract,
        strict=layer.strict,
    )
