"""`calibrate_`: a trained network, quantized with what a few samples tell, and without training.

    1. ranges of membranes, where they are to be found: from the potentials of the network as it is
    2. the description on every layer, on top of what the layer has (leak, threshold and reset stay)
    3. batch-norm statistics estimated anew, since weights on a grid give sums of another spread

Without the third step 2-bit weights lose some 2 points and 1-bit weights some 35.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import QuantizeReport, SpikingBlock, blocks_of, quantize_, recalibrate_
from bitspike.block.norm import ChannelNorm
from bitspike.block.quantize import foreign_modules
from bitspike.block.spec_of import LayerState, layer_states, spec_of_layers
from bitspike.ptq.change import SpecChange, Wanted
from bitspike.ptq.ranges import Potentials, found_range, observed_potentials
from bitspike.spec import NEURON_FIELDS, MembraneSpec, QuantSpec, neuron_fields


@dataclass(frozen=True)
class Calibration:
    """What `calibrate_` did.

    spec: the whole description, with which `quantize_` alone would do the same; ranges: those that were found;
    leaks: layers whose leak had to become another one, (before, after); batches: used for the statistics, 0 where the
    network has none or they were to stay.
    """

    spec: QuantSpec
    layers: QuantizeReport
    ranges: dict[str, float]
    leaks: dict[str, tuple[Fraction, Fraction]]
    batches: int

    def __str__(self) -> str:
        lines = [str(self.layers)]
        if self.ranges:
            lines.append("ranges: " + ", ".join(f"{name} {found:.3g}" for name, found in self.ranges.items()))
        lines += [f"{name}: leak {float(was):g} became {now}" for name, (was, now) in self.leaks.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        leaks = {name: [str(before), str(after)] for name, (before, after) in self.leaks.items()}
        spec, layers = self.spec.to_dict(), self.layers.to_dict()["layers"]
        return {"quant": spec, "layers": layers, "ranges": self.ranges, "leaks": leaks, "batches": self.batches}


def calibrate_(
    net: nn.Module,
    change: SpecChange | QuantSpec | Mapping[str, Any] | str,
    batches: Iterable[Tensor] = (),
    *,
    statistics: bool = True,
    potentials: Potentials | None = None,
) -> Calibration:
    """Quantize a trained network in place, by a short form ("4w4u"), a recipe's table or a `SpecChange`.

    batches: uint8 samples [B, C, H, W] or [T, B, C, H, W] as the network takes them; some hundred of the training
    split are enough. None are needed where nothing is estimated: statistics=False leaves the batch norms as they are,
    and the range "threshold" follows from the network. potentials: those of the float network, if they were observed
    before; where ranges are found, and otherwise not needed.

    Refuses a network with layers of its own kind, by their names: nothing could be said of what they compute. Where
    anything is refused, or the samples cannot be run, the network stays as it was.
    """
    if isinstance(batches, Tensor):
        raise TypeError("batches is one tensor; give a list of batches, [samples] for a single one")
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"batches is a {type(batches).__name__}; give tensors of samples, [torch.from_numpy(data.inputs)]"
        )
    wanted = wanted_specs(net, change)
    samples = [_as_samples(batch) for batch in batches]
    before = layer_states(net)
    how = {name: item.range for name, item in wanted.items() if item.range and before[name].spiking}
    estimated = statistics and any(isinstance(module, ChannelNorm) for module in net.modules())
    if estimated or (how and potentials is None):
        _refuse_none(samples)
    if how and potentials is None:
        potentials = observed_potentials(net, samples)
    with _unharmed(net, before):
        ranges = _find_ranges(net, how, potentials or {}, before, wanted)
        states = {
            name: replace(before[name], layer=_with_range(item, ranges.get(name))) for name, item in wanted.items()
        }
        spec = spec_of_layers(states)
        report = quantize_(net, spec)
        used = recalibrate_(net, samples) if estimated else 0
    leaks = {
        name: (before[name].layer.membrane.leak, state.layer.membrane.leak)
        for name, state in states.items()
        if state.spiking and state.layer.membrane.leak != before[name].layer.membrane.leak
    }
    return Calibration(spec, report, ranges, leaks, used)


@contextmanager
def _unharmed(net: nn.Module, before: Mapping[str, LayerState]) -> Iterator[None]:
    """Where what is inside fails, the network gets its bits and its values back."""
    values = {name: value.clone() for name, value in net.state_dict().items()}
    try:
        yield
    except BaseException:
        quantize_(net, spec_of_layers(before))
        net.load_state_dict(values)
        raise


def wanted_specs(net: nn.Module, change: SpecChange | QuantSpec | Mapping[str, Any] | str) -> dict[str, Wanted]:
    """What every layer of a network gets, nothing changed yet."""
    chosen = SpecChange.of(change)
    states = layer_states(net)
    if not states:
        raise ValueError("calibrate_: the network holds no spiking block and no readout; build it from bitspike.block")
    if foreign := foreign_modules(net):
        raise ValueError(
            f"calibrate_: the network has modules that are no blocks, {', '.join(foreign)}, whose values it does not "
            "understand; replace them by blocks of bitspike.block, or see `bitspike import`"
        )
    chosen.refuse_unmatched(states)
    return {name: chosen.apply(name, state.layer, end=state.end) for name, state in states.items()}


def keeping_neurons(net: nn.Module, quant: QuantSpec) -> QuantSpec:
    """The description, with the network's own leaks, thresholds and resets where it names none but the usual ones."""
    usual = neuron_fields(MembraneSpec())
    own = [neuron_fields(state.layer.membrane) for state in layer_states(net).values() if state.spiking]
    if neuron_fields(quant.membrane) != usual or all(fields == usual for fields in own):
        return quant
    table = quant.to_dict()
    table["membrane"] = {key: value for key, value in table["membrane"].items() if key not in NEURON_FIELDS}
    wanted, states = wanted_specs(net, table), layer_states(net)
    return spec_of_layers({name: replace(states[name], layer=item.layer) for name, item in wanted.items()})


def _with_range(item: Wanted, alpha: float | None) -> Any:
    return item.layer if alpha is None else replace(item.layer, membrane=replace(item.layer.membrane, range=alpha))


def _find_ranges(
    net: nn.Module,
    how: Mapping[str, str],
    potentials: Potentials,
    before: Mapping[str, LayerState],
    wanted: Mapping[str, Wanted],
) -> dict[str, float]:
    """alpha of the layers where it is to be found; mse needs to see the layers quantized."""
    if not how:
        return {}
    if missing := [name for name in how if name not in potentials]:
        raise ValueError(f"calibrate_: there are no potentials of {', '.join(missing)}; do they run for these samples?")
    quantize_(net, spec_of_layers({name: replace(before[name], layer=item.layer) for name, item in wanted.items()}))
    blocks = dict(blocks_of(net))
    found = {}
    for name, way in how.items():
        block = blocks[name]
        if isinstance(block, SpikingBlock):
            found[name] = found_range(block, way, potentials[name].to(block.weight.device))
    return found


def _as_samples(batch: Any) -> Tensor:
    """A batch of torch or numpy."""
    if isinstance(batch, list | tuple | dict):
        raise TypeError(
            f"calibrate_: a batch is a {type(batch).__name__}, not samples; of a DataLoader's pairs give the first: "
            "(x for x, _ in loader)"
        )
    return torch.as_tensor(batch)


def _refuse_none(samples: list[Tensor]) -> None:
    if not samples or not any(torch.as_tensor(batch).numel() for batch in samples):
        raise ValueError("calibrate_: no samples were given; some hundred of the training split are enough")
