import pytest
import torch

import oracle
from bitspike.integer.threefry import random_offsets, threefry

ONES = 0xFFFFFFFF
# Published with the generator (Random123, kat_vectors, threefry4x32 20).
KNOWN = [
    ((0, 0, 0, 0), (0, 0, 0, 0), (0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8)),
    ((ONES,) * 4, (ONES,) * 4, (0x2A881696, 0x57012287, 0xF6C7446E, 0xA16A6732)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89),
        (0x59CD1DBB, 0xB8879579, 0x86B5D00C, 0xAC8B6D84),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN)
def test_known_answers(counter, key, words):
    got = threefry(tuple(torch.tensor([word]) for word in counter), key)
    assert tuple(int(word) for word in got) == words
    independent = oracle.threefry([torch.tensor([word]).numpy() for word in counter], list(key))
    assert tuple(int(word[0]) for word in independent) == words


@pytest.mark.parametrize(("channels", "pixels", "bits"), [(1, 1, 1), (31, 5, 3), (32, 4, 4), (33, 3, 5), (70, 6, 17)])
def test_offsets_are_the_planes_of_the_counter(channels, pixels, bits):
    drawn = random_offsets(channels, pixels, bits, seed=ONES, layer=3, step=7)
    assert drawn.dtype == torch.int32
    assert torch.equal(drawn.long(), torch.from_numpy(oracle.random_integers(channels, pixels, bits, ONES, 3, 7)))


def test_no_bits_draw_zero():
    assert torch.equal(random_offsets(5, 4, 0, seed=1, layer=0, step=0), torch.zeros(5, 4, dtype=torch.int32))


def test_more_bits_keep_the_lower_planes_and_more_channels_the_first_ones():
    wide = random_offsets(40, 9, 12, seed=5, layer=1, step=2)
    narrow = random_offsets(33, 9, 6, seed=5, layer=1, step=2)
    assert torch.equal(wide[:33] & 63, narrow)


def test_every_part_of_the_counter_matters_and_the_mean_is_half():
    base = random_offsets(64, 200, 8, seed=1, layer=1, step=1)
    for change in ({"seed": 2}, {"layer": 2}, {"step": 2}):
        other = random_offsets(64, 200, 8, **{"seed": 1, "layer": 1, "step": 1, **change})
        assert (other == base).double().mean() < 0.02
    assert int(base.min()) == 0
    assert int(base.max()) == 255
    assert abs(base.double().mean() - 127.5) < 2
