"""Thousands of damaged files: each is refused with a sentence, or loads to exactly what it says."""

from __future__ import annotations

import random

import pytest
from mutations import meaning, mutated

from bitspike.integer import file
from bitspike.integer.file import About, Contents
from hand_graphs import by_hand, everything

SEEDS = [file.to_bytes(Contents(graph, ("note",), About({"a": 1}))) for graph in (by_hand(), everything())]


def load(data: bytes, *, verify: bool) -> file.Contents | None:
    """What loads; None for what is refused by ValueError. Any other exception is a failure."""
    try:
        return file.from_bytes(data, "it", verify=verify)
    except ValueError as error:
        assert str(error).startswith("it ") or str(error).startswith("it:")
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("seed", SEEDS, ids=["by hand", "everything"])
def test_changed_values_are_refused_or_mean_what_they_say(seed):
    draw = random.Random(1)
    loaded = 0
    for _ in range(1500):
        data = mutated(seed, draw)
        found = None if data is None else load(data, verify=True)
        if found is not None:
            loaded += 1
            assert meaning(file.to_bytes(found)) == meaning(data)
    assert 50 < loaded < 1200  # the mutations reach both ends


@pytest.mark.parametrize("seed", SEEDS, ids=["by hand", "everything"])
def test_changed_bytes_behind_the_checksum_are_refused_or_mean_what_they_say(seed):
    draw = random.Random(2)
    loaded = 0
    for _ in range(1500):
        data = bytearray(seed)
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.choice((0, 32, 48, 57, 127, 255, draw.randrange(256)))
        found = load(bytes(data), verify=False)
        if found is not None:
            loaded += 1
            assert meaning(file.to_bytes(found)) == meaning(bytes(data))
    assert loaded > 10
