"""`measure`: what a network of blocks costs, from its layers as they are and, with samples, as they fire."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bitspike.block import Block, Readout, SpikingBlock, blocks_of
from bitspike.block.base import in_mode, watching
from bitspike.block.plain import EventInput, Flatten, GlobalSumPool, ImageInput, MaxPool, SumPool
from bitspike.block.to_integers import to_node
from bitspike.cost import CostTable, LayerActivity, LayerCost, layer_activity
from bitspike.cost.integers import Rates, bytes_of, narrowest, sums_of_windows
from bitspike.integer import graph
from bitspike.lowering import Step, input_ranges, trace
from bitspike.quant.utilization import estimated_utilization, levels_used
from bitspike.spec import FLOAT_BITS, WeightSpec


def measure(net: nn.Module, batches: Iterable[Tensor | NDArray[np.uint8]] | None = None) -> CostTable:
    """The cost table of a network; batches of uint8 samples, as its input takes them, add real firing rates.

    A network that takes any number of time steps has that of the batches; where there are none, or they differ, the
    figures are those of one step.
    """
    rates, seen = (None, set()) if batches is None else _observed(net, batches)
    steps = time_steps_of(net) or (seen.pop() if len(seen) == 1 else None)
    name = str(getattr(net, "model_name", type(net).__name__))
    return CostTable(name, tuple(describe(net, rates)), time_steps=steps)


def time_steps_of(net: nn.Module) -> int | None:
    """For how many time steps a network is made; None: any number."""
    entry = trace(net)[0]
    return None if isinstance(entry.block, EventInput) and entry.block.time_steps is None else entry.shape[0]


def firing_rates(net: nn.Module, batches: Iterable[Tensor | NDArray[np.uint8]]) -> dict[str, Rates]:
    """Mean values that every weighted layer reads and gives in eval mode, over all samples."""
    return _observed(net, batches)[0]


@torch.no_grad()
def _observed(net: nn.Module, batches: Iterable[Tensor | NDArray[np.uint8]]) -> tuple[dict[str, Rates], set[int]]:
    """Firing rates, and the numbers of time steps that the batches had."""
    if isinstance(batches, Tensor | np.ndarray):
        raise TypeError("batches is one array; give a list of batches, [samples] for a single one")
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    names = {id(block): name for name, block in blocks_of(net)}
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    sizes: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    steps: set[int] = set()

    def note(block: Block, operands: tuple[Tensor, ...], result: Tensor) -> None:
        if not isinstance(block, SpikingBlock | Readout):
            return
        steps.add(operands[0].shape[0])
        values = (operands[0], operands[1] if len(operands) > 1 else None, result)
        for place, value in enumerate(values):
            if value is not None:
                sums[names[id(block)]][place] += float(value.double().sum())
                sizes[names[id(block)]][place] += value.numel()

    with in_mode(net, training=False), watching(note):
        for batch in batches:
            net(torch.as_tensor(batch).to(device))
    if not any(size for found in sizes.values() for size in found):
        raise ValueError("no samples were given, so no firing was measured")

    def mean(name: str, place: int) -> float:
        return sums[name][place] / sizes[name][place]

    rates = {name: Rates(mean(name, 0), mean(name, 1) if sizes[name][1] else None, mean(name, 2)) for name in sums}
    return rates, steps


def describe(net: nn.Module, rates: dict[str, Rates] | None = None) -> list[LayerCost]:
    """One row per weighted layer, in order of execution; a convolved skip is a row of its own.

    Works at every width, 32 bits included.
    """
    steps = trace(net)
    names = {id(block): name for name, block in blocks_of(net)}
    ranges = input_ranges(steps)
    pixels = _pixels(steps)
    rows: list[LayerCost] = []
    for step in steps:
        rate = (rates or {}).get(names[id(step.block)])  # a block that runs twice has one mean over both runs
        if isinstance(step.block, SpikingBlock):
            node = None
            if step.block.has_integer_form:
                skip = ranges[step.sources[1]] if len(step.sources) > 1 else None
                node = to_node(step.block, step.name, ranges[step.sources[0]], skip)
            rows += _spiking_rows(step, step.block, node, rate, pixels, first=not rows)
        elif isinstance(step.block, Readout):
            rows.append(_readout_row(step, step.block, rate, static=step.sources[0] in pixels))
    return rows


def _pixels(steps: list[Step]) -> set[str]:
    """Steps that give pixels, the same at every time: an image, and what only pools or flattens it."""
    found: set[str] = set()
    for step in steps:
        passes = isinstance(step.block, MaxPool | SumPool | GlobalSumPool | Flatten) and step.sources[0] in found
        if passes or isinstance(step.block, ImageInput):
            found.add(step.name)
    return found


def _spiking_rows(
    step: Step,
    block: SpikingBlock,
    node: graph.Spiking | None,
    rate: Rates | None,
    pixels: Set[str],
    *,
    first: bool,
) -> list[LayerCost]:
    positions = int(np.prod(step.shape[3:], dtype=np.int64))
    sums = positions
    if block.largest is not None:
        sums = sums_of_windows(step.shape[3:], block.largest.kernel, block.largest.stride)
    spec = block.weight_spec
    with torch.no_grad():
        weights = block.quantized()
        codes, skip_codes = block.signed(weights)
    latent = block.scaled_weights()
    static = step.sources[0] in pixels
    main = LayerCost(
        name=step.name,
        kind="linear" if block.window is None else "conv",
        end=first,
        weights=block.weight.numel(),
        weight_bits=block.weight_spec.bits,
        biases=0 if block.bias is None else block.bias.numel(),
        norms=0 if block.norm is None else block.out_channels,
        neurons=block.out_channels * positions,
        membrane_bits=FLOAT_BITS if block.membrane_spec.is_float else block.membrane_spec.bits,
        macs=block.weight.numel() * sums,
        static_input=static,
        # Pixels are no spikes: a layer that reads them has no input rate.
        input_rate=None if rate is None or static else rate.source,
        output_rate=None if rate is None else rate.result,
        integer_bytes=0 if node is None else bytes_of(node.fire),
        **_levels(latent["weight_gamma"], weights.main.scale, codes, spec),
    )
    if block.skip_weight is None or weights.skip is None or skip_codes is None:
        return [main]
    static = step.sources[1] in pixels
    skip = node.skip if node is not None and isinstance(node.skip, graph.WeightedSkip) else None
    side = LayerCost(
        name=f"{step.name}.skip",
        kind="skip",
        end=False,
        weights=block.skip_weight.numel(),
        weight_bits=block.weight_spec.bits,
        biases=0,
        norms=0 if block.skip_norm is None else block.out_channels,
        neurons=0,
        membrane_bits=main.membrane_bits,
        macs=block.skip_weight.numel() * positions,
        static_input=static,
        input_rate=None if rate is None or static else rate.skip,
        integer_bytes=0 if skip is None else narrowest(skip.shift),
        # A skip that shares the main sum's scale shares the estimate.
        **_levels(latent.get("skip_weight_gamma", latent["weight_gamma"]), weights.skip.scale, skip_codes, spec),
    )
    return [main, side]


def _levels(latent: Tensor, scale: Tensor, codes: Tensor, spec: WeightSpec) -> dict[str, Any]:
    """A row's fields about the levels of a weight's grid; codes: those that ship, with the signs of batch norms."""
    if spec.is_float:
        return {}
    estimate = estimated_utilization(latent, scale, spec)
    return {"levels": spec.levels, "levels_used": levels_used(codes), "utilization_estimate": estimate}


def _readout_row(step: Step, block: Readout, rate: Rates | None, *, static: bool) -> LayerCost:
    integer_bytes = 0
    with torch.no_grad():
        codes, scale = block.quantized()
    if block.has_integer_form:
        integer_bytes = narrowest(block.to_node(step.name, "", step.shape[0]).bias)
    return LayerCost(
        name=step.name,
        kind="readout",
        end=True,
        weights=block.weight.numel(),
        weight_bits=block.weight_spec.bits,
        biases=0 if block.bias is None else block.bias.numel(),
        norms=0,
        neurons=0,
        membrane_bits=FLOAT_BITS,
        macs=block.weight.numel(),
        static_input=static,
        input_rate=None if rate is None or static else rate.source,
        integer_bytes=integer_bytes,
        **_levels(block.weight, scale / block.input_scale, codes, block.grid_spec),
    )


@torch.no_grad()
def activity(net: nn.Module, rates: dict[str, Rates]) -> list[LayerActivity]:
    """Firing rate, balance of signs and their entropies, for every spiking layer that was measured.

    Signs are those of the codes where weights are on a grid, else of the latent weights.
    """
    return [
        layer_activity(name, rates[name].result, block.quantized().main.codes.cpu().numpy())
        for name, block in blocks_of(net)
        if isinstance(block, SpikingBlock) and name in rates
    ]
