"""`quantize_`: put a quantization on the blocks of a network, in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from bitspike.block.base import blocks_of
from bitspike.block.layers import SpikingBlock
from bitspike.block.learned import put_weight_spec
from bitspike.block.readout import Readout
from bitspike.spec import LayerSpec, QuantSpec
from bitspike.wording import columns


@dataclass(frozen=True)
class QuantizedLayer:
    """What one layer got: its name, whether it counts as an end, its description, and whether it has neurons."""

    name: str
    end: bool
    layer: LayerSpec
    spiking: bool


@dataclass(frozen=True)
class QuantizeReport:
    """What changed and what was left alone.

    layers: the layers that got a description; ignored: names of modules with parameters that are no blocks.
    """

    layers: tuple[QuantizedLayer, ...]
    ignored: tuple[str, ...]

    def __str__(self) -> str:
        lines = [(item.name, *_in_words(item)) for item in self.layers]
        shown = columns(("layer", "weights", "grid", "membrane"), lines, left=(0, 2))
        return shown + (f"\nleft alone: {', '.join(self.ignored)}" if self.ignored else "")

    def to_dict(self) -> dict[str, object]:
        """Plain data for `--json`."""
        return {
            "layers": [
                {
                    "name": item.name,
                    "end": item.end,
                    "weight_bits": item.layer.weight.bits,
                    "membrane_bits": item.layer.membrane.bits,
                }
                for item in self.layers
            ],
            "ignored": list(self.ignored),
        }


def _in_words(item: QuantizedLayer) -> tuple[str, str, str]:
    weight, membrane = item.layer.weight, item.layer.membrane
    grid = "float" if weight.is_float else f"{weight.grid}, {weight.scale}"
    return str(weight.bits), grid, str(membrane.bits) if item.spiking else ""


def quantize_(net: nn.Module, spec: QuantSpec | str | Mapping[str, Any]) -> QuantizeReport:
    """Set the quantization of every block; weights are not touched, the next forward pass uses it.

    A scale that is learned becomes a parameter of its layer, and is none any more when another description comes; so
    make optimizers afterwards.
    The first weighted layer, in the order in which the network defines them, and every readout are ends and get
    `spec.ends`; so define the layer that reads the input first. Patterns of overrides that match no layer, or none that
    an earlier pattern has not taken, are refused: a typing error there would silently change what is trained. If
    anything is refused, nothing is changed.
    """
    chosen = spec if isinstance(spec, QuantSpec) else QuantSpec.from_dict(spec)
    weighted = [(name, block) for name, block in blocks_of(net) if isinstance(block, SpikingBlock | Readout)]
    if not weighted:
        raise ValueError("quantize_: the network holds no spiking block and no readout; build it from bitspike.block")
    names = [name for name, _ in weighted]
    for item in chosen.overrides:
        if not fnmatch.filter(names, item.pattern):
            raise ValueError(
                f"quantize_: the override {item.pattern!r} matches no layer; layers are {', '.join(names)}"
            )
    taken: set[str] = set()
    for item in chosen.overrides:
        mine = {name for name in names if fnmatch.fnmatchcase(name, item.pattern)} - taken
        if not mine:
            raise ValueError(
                f"quantize_: earlier overrides take all layers that {item.pattern!r} matches; put it before them"
            )
        taken |= mine
    report = []  # of all layers, before any of them is changed
    for position, (name, block) in enumerate(weighted):
        end, spiking = position == 0 or isinstance(block, Readout), isinstance(block, SpikingBlock)
        try:
            layer = chosen.for_layer(name, end=end)
        except ValueError as error:
            raise ValueError(f"quantize_: layer {name}: {error}") from None
        report.append(QuantizedLayer(name, end, layer if spiking else LayerSpec(layer.weight), spiking))
    for position, ((_, block), found) in enumerate(zip(weighted, report, strict=True)):
        put_weight_spec(block, found.layer.weight)
        if isinstance(block, SpikingBlock):
            block.membrane_spec = found.layer.membrane
            block.stream = position
    return QuantizeReport(tuple(report), tuple(foreign_modules(net)))


def foreign_modules(net: nn.Module) -> list[str]:
    """Names of modules that hold parameters of their own and belong to no block."""
    inside = {id(part) for _, block in blocks_of(net) for part in block.modules()}
    return [
        name or type(module).__name__
        for name, module in net.named_modules()
        if id(module) not in inside and any(True for _ in module.parameters(recurse=False))
    ]


def set_progress_(net: nn.Module, progress: float) -> None:
    """Tell the blocks how far training is, 0 to 1: annealed gradients sharpen with it."""
    if not 0 <= progress <= 1:
        raise ValueError(f"set_progress_: progress is {progress}; allowed: 0 to 1")
    for _, block in blocks_of(net):
        if isinstance(block, SpikingBlock | Readout):
            block.progress = progress
