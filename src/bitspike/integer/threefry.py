"""Threefry-4x32-20, the counter-based generator of Salmon et al., Parallel Random Numbers, 2011.

Adds, rotations and xors only, so every target computes the same bits in any order. A random integer in [0, 2^g)
for stochastic rounding is drawn plane by plane: bit j of the 32 channels of one group is one word,

    key = (seed, 0, 0, 0)    counter = (pixel, step, layer, group * 8 + j // 4)    word j % 4, bit channel % 32

and never depends on the position in the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROTATIONS = ((10, 26), (11, 21), (13, 27), (23, 5), (6, 20), (17, 11), (25, 10), (18, 20))
_PARITY = 0x1BD11BDA
_MASK = 0xFFFFFFFF


def threefry(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int, int, int]) -> list[Tensor]:
    """Four words (int64 tensors holding 32 bits) of a counter of four words."""
    schedule = [*key, _PARITY ^ key[0] ^ key[1] ^ key[2] ^ key[3]]
    words = [(word + schedule[i]) & _MASK for i, word in enumerate(counter)]
    for turn in range(20):
        left, right = _ROTATIONS[turn % 8]
        a, b = (1, 3) if turn % 2 == 0 else (3, 1)
        words[0] = (words[0] + words[a]) & _MASK
        words[a] = _rotate(words[a], left) ^ words[0]
        words[2] = (words[2] + words[b]) & _MASK
        words[b] = _rotate(words[b], right) ^ words[2]
        if turn % 4 == 3:
            injection = turn // 4 + 1
            words = [(word + schedule[(injection + i) % 5]) & _MASK for i, word in enumerate(words)]
            words[3] = (words[3] + injection) & _MASK
    return words


def _rotate(word: Tensor, by: int) -> Tensor:
    return ((word << by) | (word >> (32 - by))) & _MASK


def random_offsets(channels: int, pixels: int, bits: int, *, seed: int, layer: int, step: int) -> Tensor:
    """A random integer in [0, 2^bits) for every channel and pixel of one layer and step: int32 [C, pixels]."""
    groups, blocks = (channels + 31) // 32, (bits + 3) // 4
    drawn = torch.zeros(channels, pixels, dtype=torch.int64)
    if bits == 0:
        return drawn.to(torch.int32)
    pixel = torch.arange(pixels).reshape(1, 1, -1)
    index = (torch.arange(groups).reshape(-1, 1, 1) * 8) + torch.arange(blocks).reshape(1, -1, 1)
    shape = (groups, blocks, pixels)
    fixed = [torch.full(shape, value, dtype=torch.int64) for value in (step, layer)]
    words = threefry((pixel.expand(shape), fixed[0], fixed[1], index.expand(shape)), (seed, 0, 0, 0))
    channel = torch.arange(channels)
    for j in range(bits):
        plane = words[j % 4][:, j // 4]  # [groups, pixels]
        bit = (plane[channel // 32] >> (channel % 32).unsqueeze(1)) & 1
        drawn |= bit << j
    return drawn.to(torch.int32)
