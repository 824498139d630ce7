"""A network that is one list of layers, perhaps with skips: what networks trained elsewhere become."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import (
    ConvSkip,
    EventInput,
    Flatten,
    GlobalSumPool,
    ImageInput,
    MaxPool,
    PlainSkip,
    Readout,
    SpikingConv2d,
    SpikingLinear,
    SumPool,
)
from bitspike.model.registry import register_model
from bitspike.model.shape import channel_means, checked_classes, checked_shape

DEFAULT_LAYERS: tuple[dict[str, Any], ...] = (
    {"kind": "flatten"},
    {"kind": "linear", "channels": 32, "norm": True, "input_scale": 1 / (255 * 0.25)},
    {"kind": "readout"},
)

_WEIGHTED = ("channels", "bias", "norm", "eps", "input_scale")
_KEYS: dict[str, tuple[str, ...]] = {
    "conv": (*_WEIGHTED, "kernel", "stride", "padding", "pool_sums", "skip"),
    "linear": _WEIGHTED,
    "max_pool": ("kernel", "stride", "padding"),
    "sum_pool": ("kernel", "stride", "padding"),
    "global_sum_pool": (),
    "flatten": (),
    "readout": ("bias", "input_scale"),
}
"""Kind of layer -> what its table may say, besides `kind` and `name`."""
_SKIP_KEYS = ("from", "kernel", "stride", "norm", "eps")


@register_model("sequence")
class SequenceNet(nn.Module):
    """Layers one after the other, each told by a table; `bitspike import` makes them.

    layers: tables with `kind` (conv, linear, max_pool, sum_pool, global_sum_pool, flatten, readout), `name`, and what
    the kind has: channels, kernel, stride, padding, bias, norm, eps, input_scale. Of a conv, pool_sums is a table of
    kernel and stride, max pooling before its neurons; skip is a table of the layer whose spikes join, `from`, and of
    kernel, stride, norm and eps of the convolution they go through, if they do. A readout is last.
    bound: the largest event count; None for images.
    """

    def __init__(
        self,
        *,
        classes: int = 10,
        input_shape: Sequence[int] = (1, 8, 8),
        time_steps: int = 4,
        mean: Sequence[float] | None = None,
        std: float = 0.25,
        bound: int | None = None,
        layers: Sequence[Mapping[str, Any]] = DEFAULT_LAYERS,
    ) -> None:
        super().__init__()
        shape: tuple[int, ...] = checked_shape(input_shape)
        if bound is None:
            means = channel_means(mean, shape[0])
            self.input: nn.Module = ImageInput(checked_shape(shape), mean=means, std=std, time_steps=time_steps)
        else:
            self.input = EventInput(checked_shape(shape), bound=bound, time_steps=time_steps)
        self._order = ["input"]
        self._skips: dict[str, str] = {}
        shapes = {"input": shape}
        for number, table in enumerate(layers):
            name = _checked(table, number, self._order)
            if (table["kind"] == "readout") != (number + 1 == len(layers)):
                raise ValueError(f"layers: {name} is a {table['kind']}; the last layer is a readout, and no other")
            if table.get("skip") is not None:
                self._skips[name] = _skip_source(name, table["skip"], self._order[1:])
            block, shape = _made(name, table, shape, shapes, checked_classes(classes))
            self.add_module(name, block)
            self._order.append(name)
            shapes[name] = shape
        if len(self._order) == 1:
            raise ValueError("layers is empty; give at least a readout")

    @property
    def sequence(self) -> list[tuple[str, nn.Module]]:
        """The blocks in the order in which they run, with their names."""
        return [(name, getattr(self, name)) for name in self._order]

    @property
    def skips(self) -> dict[str, str]:
        """Names of blocks with a skip, and of the blocks whose spikes join them."""
        return dict(self._skips)

    def forward(self, samples: Tensor) -> Tensor:
        """Images [B, C, H, W] or event counts [T, B, C, H, W] (uint8) to logits [T, B, classes]."""
        value = samples
        wanted = set(self._skips.values())
        kept: dict[str, Tensor] = {}
        for name, block in self.sequence:
            value = block(value, kept[self._skips[name]]) if name in self._skips else block(value)
            if name in wanted:
                kept[name] = value
        return value


def _checked(table: Mapping[str, Any], number: int, taken: Sequence[str]) -> str:
    """The layer's name; refuses tables that say what their kind does not know."""
    if not isinstance(table, Mapping) or table.get("kind") not in _KEYS:
        raise ValueError(f"layers[{number}] is {table!r}; give a table with kind, one of {', '.join(_KEYS)}")
    kind = str(table["kind"])
    name = str(table.get("name", f"{kind}{number}"))
    if not name.isidentifier() or name in taken or hasattr(nn.Module(), name) or hasattr(SequenceNet, name):
        raise ValueError(f"layers[{number}]: the name {name!r} is taken, or none that an attribute can have")
    for key in table:
        if key not in ("kind", "name", *_KEYS[kind]):
            raise ValueError(f"layers: {name} has {key!r}; a {kind} takes {', '.join(_KEYS[kind]) or 'nothing'}")
    return name


def _skip_source(name: str, table: Any, before: Sequence[str]) -> str:
    """The layer that a skip comes from; refuses tables that say what a skip does not know."""
    if not isinstance(table, Mapping) or not set(table) <= set(_SKIP_KEYS):
        raise ValueError(f"layers: the skip of {name} is {table!r}; give a table with {', '.join(_SKIP_KEYS)}")
    source = table.get("from")
    if source not in before:
        raise ValueError(f"layers: the skip of {name} is from {source!r}; give one of {', '.join(before) or 'none'}")
    return str(source)


def _made(
    name: str, table: Mapping[str, Any], shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]], classes: int
) -> tuple[nn.Module, tuple[int, ...]]:
    """The block of a table, and the shape of what it gives; `shapes` of what the layers before give."""
    makers: dict[str, Callable[..., tuple[nn.Module, tuple[int, ...]]]] = {
        "conv": lambda table, shape: _conv(name, table, shape, shapes),
        "linear": _linear,
        "max_pool": _pool,
        "sum_pool": _pool,
        "global_sum_pool": lambda table, shape: (GlobalSumPool(), (shape[0], 1, 1)),
        "flatten": lambda table, shape: (Flatten(), (_size(shape),)),
        "readout": lambda table, shape: (_readout(table, shape, classes), (classes,)),
    }
    kind = str(table["kind"])
    flat = kind in ("linear", "readout")
    if flat != (len(shape) == 1):
        wanted = "rows of features; put a flatten before it" if flat else "maps, which are flat already"
        raise ValueError(f"layers: {name} gets values of shape {list(shape)}; a {kind} takes {wanted}")
    try:
        block, result = makers[kind](table, shape)
    except KeyError as missing:
        raise ValueError(f"layers: {name} does not say its {missing}") from None
    if min(result) < 1:
        raise ValueError(f"layers: {name} gives maps of shape {list(result)} from {list(shape)}; it does not fit")
    return block, result


def _size(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _conv(
    name: str, table: Mapping[str, Any], shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[nn.Module, tuple[int, ...]]:
    joins = table.get("skip")
    source = None if joins is None else shapes[joins["from"]]
    block = SpikingConv2d(
        shape[0],
        int(table["channels"]),
        _pair(table["kernel"]),
        stride=_pair(table.get("stride", 1)),
        padding=_pair(table["padding"]) if "padding" in table else None,
        skip=None if joins is None or source is None else _skip(joins, source),
        pool_sums=_pool_sums(table.get("pool_sums")),
        **_common(table),
    )
    _set_eps(block, table)
    if joins is not None and block.skip_norm is not None:
        block.skip_norm.eps = float(joins.get("eps", block.skip_norm.eps))
    if joins is not None and source is not None:
        try:  # whether they meet, before anything runs
            block.check_skip(torch.empty(1, 1, *shape), torch.empty(1, 1, *source))
        except ValueError as error:
            raise ValueError(f"layers: {name} and its skip from {joins['from']} do not meet: {error}") from None
    window = block.window
    sizes = shape[1:] if window is None else window.sizes(shape[1:], block.weight.shape[2:])
    sizes = sizes if block.largest is None else block.largest.sizes(sizes)
    return block, (block.out_channels, *sizes)


def _skip(table: Mapping[str, Any], source: tuple[int, ...]) -> PlainSkip | ConvSkip:
    if "kernel" not in table:
        return PlainSkip(int(table.get("stride", 1)))
    norm = str(table.get("norm", "own"))
    return ConvSkip(source[0], int(table.get("stride", 1)), int(table["kernel"]), norm)


def _pool_sums(table: Any) -> MaxPool | None:
    if table is None:
        return None
    if not isinstance(table, Mapping) or not set(table) <= {"kernel", "stride"} or "kernel" not in table:
        raise ValueError(f"layers: pool_sums is {table!r}; give a table with kernel and, if it differs, stride")
    stride = table["kernel"] if table.get("stride") is None else table["stride"]
    return MaxPool(_pair(table["kernel"]), _pair(stride))


def _linear(table: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    block = SpikingLinear(shape[0], int(table["channels"]), **_common(table))
    _set_eps(block, table)
    return block, (block.out_channels,)


def _common(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bias": bool(table.get("bias", False)),
        "norm": bool(table.get("norm", True)),
        "input_scale": float(table.get("input_scale", 1.0)),
    }


def _set_eps(block: SpikingConv2d | SpikingLinear, table: Mapping[str, Any]) -> None:
    if block.norm is not None:
        block.norm.eps = float(table.get("eps", block.norm.eps))


def _pool(table: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    kernel = _pair(table["kernel"])
    stride = _pair(table.get("stride", kernel))
    padding = _pair(table.get("padding", 0))
    block = (MaxPool if table["kind"] == "max_pool" else SumPool)(kernel, stride, padding)
    sizes = ((shape[1 + i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in range(2))
    return block, (shape[0], *sizes)


def _readout(table: Mapping[str, Any], shape: tuple[int, ...], classes: int) -> nn.Module:
    return Readout(shape[0], classes, bool(table.get("bias", True)), input_scale=float(table.get("input_scale", 1.0)))


def _pair(value: Any) -> tuple[int, int]:
    both = value if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or any(type(item) is not int for item in both):
        raise ValueError(f"layers: {value!r} is neither a whole number nor two of them, such as [3, 3]")
    return both[0], both[1]
