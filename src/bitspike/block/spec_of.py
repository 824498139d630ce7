"""What the layers of a network are quantized as, and the shortest description that says so."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from torch import nn

from bitspike.block.base import blocks_of
from bitspike.block.layers import SpikingBlock
from bitspike.block.readout import Readout
from bitspike.spec import LayerSpec, MembraneSpec, Override, QuantSpec, WeightSpec


@dataclass(frozen=True)
class LayerState:
    """One weighted layer: whether it is an end, its description, and whether it has a membrane."""

    end: bool
    layer: LayerSpec
    spiking: bool

    @property
    def is_float(self) -> bool:
        """Whether nothing of it is quantized."""
        return self.layer.weight.is_float and (not self.spiking or self.layer.membrane.is_float)


def layer_states(net: nn.Module) -> dict[str, LayerState]:
    """Every weighted layer of a network by name, in order."""
    weighted = [(name, block) for name, block in blocks_of(net) if isinstance(block, SpikingBlock | Readout)]
    found = {}
    for position, (name, block) in enumerate(weighted):
        spiking = isinstance(block, SpikingBlock)
        layer = (
            LayerSpec(block.weight_spec, block.membrane_spec)
            if isinstance(block, SpikingBlock)
            else LayerSpec(block.weight_spec)
        )
        found[name] = LayerState(position == 0 or not spiking, layer, spiking)
    return found


def differing_layer(net: nn.Module, spec: QuantSpec) -> str | None:
    """The first layer that is not quantized as a description says, if any."""
    for name, state in layer_states(net).items():
        layer = spec.for_layer(name, end=state.end)
        if layer.weight != state.layer.weight or (state.spiking and layer.membrane != state.layer.membrane):
            return name
    return None


def spec_of(net: nn.Module) -> QuantSpec:
    """The description that `quantize_` would have to be given for the network to be quantized as it is."""
    return spec_of_layers(layer_states(net))


def spec_of_layers(layers: Mapping[str, LayerState]) -> QuantSpec:
    """The description of layers by name: what most of them have, and an override for each of the others."""
    hidden = [state.layer.weight for state in layers.values() if not state.end]
    ends = [state.layer.weight for state in layers.values() if state.end]
    membranes = [state.layer.membrane for state in layers.values() if state.spiking]
    base = QuantSpec(_most(hidden or ends, WeightSpec()), _most(membranes, MembraneSpec()), _most(ends, WeightSpec()))
    overrides = []
    for name, state in layers.items():
        has = base.for_layer(name, end=state.end)
        weight = _difference(has.weight, state.layer.weight)
        membrane = _difference(has.membrane, state.layer.membrane) if state.spiking else ()
        if weight or membrane:
            overrides.append(Override(glob.escape(name), weight, membrane))
    return QuantSpec(base.weight, base.membrane, base.ends, tuple(overrides))


_Spec = TypeVar("_Spec", WeightSpec, MembraneSpec)
_GRID = ("bits", "grid", "scale", "rounding", "fraction")  # of weights
_CHOSEN = {"range": "threshold", "subtract": "threshold", "fraction": "auto"}
"""How a table says None, which TOML does not know."""


def _most(found: Sequence[_Spec], default: _Spec) -> _Spec:
    """The most frequent one, the first of them at a tie."""
    return Counter(found).most_common(1)[0][0] if found else default


def _difference(has: _Spec, wanted: _Spec) -> tuple[tuple[str, Any], ...]:
    """Fields of a table that turn one description into the other.

    Those that belong together are named together: a table is also tried on the hidden layers' description, by whose
    grid another one's scale alone would be refused.
    """
    changed = {item.name for item in fields(wanted) if getattr(wanted, item.name) != getattr(has, item.name)}
    if isinstance(wanted, WeightSpec) and changed & set(_GRID):
        changed |= set(_GRID)
    order = (item.name for item in fields(wanted) if item.name in changed)
    return tuple((name, _written(name, getattr(wanted, name))) for name in order)


def _written(name: str, value: Any) -> Any:
    if name == "leak":
        return str(value)
    return _CHOSEN.get(name, value) if value is None else value
