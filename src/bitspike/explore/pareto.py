"""Which candidates no other one beats."""

from __future__ import annotations

from collections.abc import Sequence

LARGER_IS_BETTER = {"accuracy": True, "memory": False, "operations": False, "energy": False, "latency": False}
"""Objectives, and which way they are better."""


def costs(numbers: Sequence[float], objectives: Sequence[str]) -> tuple[float, ...]:
    """Numbers with a sign that makes less better."""
    return tuple(
        -number if LARGER_IS_BETTER[name] else number for number, name in zip(numbers, objectives, strict=True)
    )


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates, in their order; less is better in every place.

    A point dominates another that it equals or beats in every place and beats in one. Of equal points only the first
    stays.
    """
    order = sorted(range(len(points)), key=lambda at: (tuple(points[at]), at))
    kept: list[int] = []
    for at in order:  # whoever dominates a point comes before it
        if not any(_covers(points[other], points[at]) for other in kept):
            kept.append(at)
    return sorted(kept)


def _covers(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))
