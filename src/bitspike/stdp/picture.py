"""Receptive fields as a picture: the weights of each neuron as a small image, in the shape of what it learned from."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitspike.atomic import atomic_write
from bitspike.stdp.network import StdpNetwork


def receptive_fields(network: StdpNetwork, shape: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """All neurons, about as many in a row as in a column, each up to white, with black lines between them.

    shape: height and width of an image; by default square where the number of inputs is, else one row.
    """
    inputs, count = network.config.inputs, network.config.neurons
    side = math.isqrt(inputs)
    height, width = shape or ((side, side) if side * side == inputs else (1, inputs))
    if height * width != inputs:
        raise ValueError(f"an image of {height}x{width} has {height * width} pixels; the network has {inputs} inputs")
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    picture = np.zeros((rows * (height + 1) - 1, columns * (width + 1) - 1), np.uint8)
    weights = network.state.weights.T.astype(np.float64)
    shown = np.round(255 * weights / np.maximum(weights.max(1, keepdims=True), 1e-9)).astype(np.uint8)
    for neuron, field in enumerate(shown):
        row, column = divmod(neuron, columns)
        top, left = row * (height + 1), column * (width + 1)
        picture[top : top + height, left : left + width] = field.reshape(height, width)
    return picture


def write_png(path: str | Path, picture: NDArray[np.uint8]) -> None:
    """Write a grey picture [height, width] as a PNG file."""
    height, width = picture.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = picture
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    found = b"\x89PNG\r\n\x1a\n"
    for name, content in parts:
        found += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    atomic_write(path, found)
