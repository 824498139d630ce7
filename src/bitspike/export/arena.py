"""Where everything lies in the one array of memory: what outlives a step first, then buffers that share their place."""

from __future__ import annotations

from bitspike.export.layout import Map, Plan, words_of


def place_in_arena(plan: Plan) -> None:
    """Give every map, membrane and scratch its first word; the kept sums of static inputs come last.

    State (steps done, the readout's sums, membranes) is never shared. A map is kept from the step that makes it to
    the last one that reads it, and two maps whose times do not meet may lie in the same words.
    """
    at = 1 + len(plan.graph.readout.bias)
    for layer in plan.layers:
        layer.membrane_at = at
        at += layer.membrane_words
    plan.state_words = at
    plan.scratch_at = at
    at += max(total.scratch_words for total in plan.sums)
    plan.skip_scratch_at = at
    at += max((layer.skip_sum.scratch_words for layer in plan.layers if layer.skip_sum), default=0)
    plan.arena_words = _share(plan, at)
    at = plan.arena_words
    for total in plan.sums:
        if total.kept_bits:
            total.kept_at = at
            at += words_of(total.places * total.outputs * total.kept_bits)
    plan.arena_words_reuse = at


def _share(plan: Plan, start: int) -> int:
    """Place the maps, the largest first, each in the lowest words that are free in its time; the end of all."""
    times = {number: (made, made) for made, step in enumerate(plan.steps) if (number := step.makes) is not None}
    for reader, step in enumerate(plan.steps):
        for number in step.reads:
            if number in times:
                times[number] = (times[number][0], max(times[number][1], reader))
    placed: list[int] = []
    end = start
    for number in sorted(times, key=lambda number: (-plan.maps[number].words, number)):
        value = plan.maps[number]
        rivals = sorted(
            (plan.maps[other] for other in placed if _meet(times[number], times[other])), key=lambda rival: rival.at
        )
        value.at = _first_gap(rivals, value.words, start)
        placed.append(number)
        end = max(end, value.at + value.words)
    return end


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _first_gap(rivals: list[Map], words: int, start: int) -> int:
    at = start
    for rival in rivals:
        if rival.at - at >= words:
            return at
        at = max(at, rival.at + rival.words)
    return at
