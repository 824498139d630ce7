"""How memory grows with the number of time steps: saved activations and resident size, participant by participant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from _shared.worker import Worker
from _training.cases import Case

Start = Callable[[Case], Worker | None]


def memory_entry(case: Case, participant: str, worker: Worker) -> dict[str, Any]:
    """What a worker measured of its first steps."""
    return {
        "case": f"{case.network} B={case.batch}",
        "participant": participant,
        "T": case.time_steps,
        "saved_bytes": worker.info["saved"],
        "resident_bytes": worker.info["resident"],
    }


def memory_by_steps(
    known: Sequence[Mapping[str, Any]],
    case: Case,
    participants: Mapping[str, Start],
    steps: Sequence[int],
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """The entries known at the case's own T and those of every other T, each from a process of its own."""
    entries = [dict(entry) for entry in known]
    for time_steps in steps:
        if time_steps == case.time_steps:
            continue
        other = replace(case, time_steps=time_steps)
        say(f"{case.network}: memory at T={time_steps}")
        for name, start in participants.items():  # one at a time: at many steps they take gigabytes
            worker = start(other)
            if worker is not None:
                with worker:
                    entries.append(memory_entry(other, name, worker))
    order = list(participants)
    return sorted(entries, key=lambda entry: (order.index(entry["participant"]), entry["T"]))


def as_memory_table(entries: Sequence[Mapping[str, Any]]) -> str:
    """For a person: one line per case and participant, saved / resident megabytes (10^6 bytes) by T."""
    steps = sorted({entry["T"] for entry in entries})
    found = {(entry["case"], entry["participant"], entry["T"]): entry for entry in entries}
    lines = [["saved / resident MB", "", *(f"T={time_steps}" for time_steps in steps)]]
    for case, participant in dict.fromkeys((entry["case"], entry["participant"]) for entry in entries):
        cells = [_megabytes(found.get((case, participant, time_steps))) for time_steps in steps]
        lines.append([case, participant, *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if i < 2 else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _megabytes(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return ""
    resident = entry["resident_bytes"]
    return f"{entry['saved_bytes'] / 1e6:.0f} / {'?' if resident is None else f'{resident / 1e6:.0f}'}"
