"""The tables of `bitspike measure`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitspike.cli.output import Output, table
from bitspike.wording import amount, joules, percent, ratio

if TYPE_CHECKING:
    from bitspike.cli.measure import Measured
    from bitspike.cost import CostTable, LayerActivity
    from bitspike.data import Dataset


def show_measured(output: Output, first: Measured, second: Measured | None, data: Dataset | None) -> None:
    """Layers, memory, operations, energy, utilization; activity where measured; what to know about the numbers."""
    if output.as_json:
        return
    _layers(output, first.table)
    _memory(output, first.table, None if second is None else second.table)
    _operations(output, first.table)
    _utilization(output, first.table, None if second is None else second.table)
    if second is not None:
        _change(output, first.activity, second.activity)
    elif first.activity:
        _activity(output, first.activity)
    if data is not None:
        output.show(f"rates and activity: {len(data)} samples of {data.name} {data.split}")
    for note in dict.fromkeys(first.notes + ([] if second is None else second.notes)):
        output.show(f"note: {note}")


def _layers(output: Output, costs: CostTable) -> None:
    from bitspike.cost.text import LAYER_COLUMNS, LEFT, layer_lines, title

    output.show(table(title(costs), LAYER_COLUMNS, layer_lines(costs), left=LEFT))


def _memory(output: Output, costs: CostTable, other: CostTable | None) -> None:
    mine, plain = costs.memory, costs.float_memory
    names = (
        ("weights", "weights"),
        ("per channel", "channels"),
        ("membrane, all layers", "membrane_all"),
        ("membrane, largest layer", "membrane_largest"),
        ("total, all layers resident", "total"),
        ("total, largest layer resident", "total_largest"),
    )
    rows = []
    for label, key in names:
        shipped, wide = getattr(mine, key), getattr(plain, key)
        more = () if other is None else (f"{getattr(other.memory, key):,} B",)
        rows.append((label, f"{shipped:,} B", *more, f"{wide:,} B", ratio(wide, shipped)))
    columns = ("memory", "this", *(() if other is None else ("other",)), "in 32-bit floats", "")
    output.show(table(f"{costs.parameters:,} parameters", columns, rows))


def _operations(output: Output, costs: CostTable) -> None:
    counted, energy = costs.operations, costs.energy
    rows = [
        ("synaptic operations (one addition a spike)", amount(counted.synaptic) or "needs firing rates: --data NAME"),
        ("multiplications on pixels", amount(counted.multiplications)),
        ("in the neurons: additions", amount(counted.adds)),
        ("in the neurons: shifts, compares", f"{amount(counted.shifts)}, {amount(counted.compares)}"),
        ("without skipping zeros", amount(counted.dense)),
        ("energy, an estimate", "needs firing rates: --data NAME" if energy is None else joules(energy.joules)),
    ]
    shown = "one time step" if costs.time_steps is None else "one image, all time steps"
    output.show(table("", (f"operations for {shown}", ""), rows))
    if energy is not None:
        output.show("energy assumes:", *(f"  {assumption}" for assumption in energy.assumptions))


def _utilization(output: Output, costs: CostTable, other: CostTable | None) -> None:
    theirs = {} if other is None else {row.name: row for row in other.rows}
    rows = []
    for row in costs.rows:
        if not row.levels:
            continue
        used = [f"{row.levels_used} of {row.levels}", percent(row.utilization, 1), percent(row.utilization_estimate, 1)]
        if other is not None:
            used.append(percent(theirs[row.name].utilization, 1) if row.name in theirs else "")
        rows.append((row.name, f"{row.weight_bits}w", *used))
    if not rows:
        return
    columns = ("layer", "bits", "levels in use", "share", "estimate", *(() if other is None else ("other",)))
    output.show(table("bit-width utilization of the weights", columns, rows, left=(0, 1)))


def _activity(output: Output, activity: list[LayerActivity]) -> None:
    rows = [
        (
            row.name,
            percent(row.firing_rate, 1),
            f"{row.spike_entropy:.3f}",
            percent(row.sign_balance, 1),
            f"{row.weight_entropy:.3f}",
        )
        for row in activity
    ]
    columns = ("layer", "firing rate", "entropy of spikes", "weights >= 0", "entropy of signs")
    output.show(table("activity (entropy in nats, at most 0.693)", columns, rows))


def _change(output: Output, before: list[LayerActivity], after: list[LayerActivity]) -> None:
    rows = []
    for old, new in zip(before, after, strict=True):
        rows.append(
            (
                old.name,
                f"{percent(old.firing_rate, 1)} -> {percent(new.firing_rate, 1)}",
                f"{old.spike_entropy:.3f} -> {new.spike_entropy:.3f}",
                f"{percent(old.sign_balance, 1)} -> {percent(new.sign_balance, 1)}",
                f"{old.weight_entropy:.3f} -> {new.weight_entropy:.3f}",
            )
        )
    columns = ("layer", "firing rate", "entropy of spikes", "weights >= 0", "entropy of signs")
    output.show(table("activity, this -> other (entropy in nats, at most 0.693)", columns, rows))
