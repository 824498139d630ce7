"""The cost of a network as a person reads it: one line a layer, and the totals in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitspike.cost.memory import layer_memory
from bitspike.wording import amount, columns, joules, percent, ratio, size

if TYPE_CHECKING:
    from bitspike.cost.table import CostTable

LAYER_COLUMNS = ("layer", "kind", "bits", "weights", "stored", "membrane", "firing", "synaptic ops", "dense ops")
LEFT = (0, 1, 2)


def title(costs: CostTable) -> str:
    """What the numbers are of."""
    shown = "one step of any number" if costs.time_steps is None else f"T = {costs.time_steps}, one image"
    return f"{costs.name}, {shown}" + (f", batch {costs.batch}" if costs.batch > 1 else "")


def layer_lines(costs: CostTable) -> list[tuple[str, ...]]:
    """One line a layer, under `LAYER_COLUMNS`."""
    lines: list[tuple[str, ...]] = []
    for row, counted in zip(costs.rows, costs.operations.layers, strict=True):
        held = layer_memory(row, batch=costs.batch)
        lines.append(
            (
                row.name,
                row.kind,
                f"{row.weight_bits}w" + (f"{row.membrane_bits}u" if row.neurons else ""),
                amount(row.weights),
                size(held.weights + held.channels),
                size(held.membrane) if row.neurons else "",
                percent(row.output_rate, 1),
                amount(counted.synaptic) if not row.static_input else "pixels",
                amount(counted.dense),
            )
        )
    return lines


def as_text(costs: CostTable) -> str:
    """The layers, and what they come to."""
    memory, plain = costs.memory.total, costs.float_memory.total
    smaller = f", {ratio(plain, memory)} smaller" if memory < plain else ""
    totals = [
        f"{costs.parameters:,} parameters",
        f"{size(memory)} with all membranes resident (in 32-bit floats {size(plain)}{smaller})",
    ]
    if costs.energy is not None:
        totals += [f"{amount(costs.operations.synaptic)} synaptic operations", f"about {joules(costs.energy.joules)}"]
    return "\n".join([title(costs), columns(LAYER_COLUMNS, layer_lines(costs), left=LEFT), "; ".join(totals)])
