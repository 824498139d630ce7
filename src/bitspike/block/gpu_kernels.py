"""`block.kernels` on Triton: chooses tiles and starts `block.triton_kernels`. Nothing here waits for the device."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bitspike.block.kernels import Neurons

log = logging.getLogger("bitspike.block")

_TILE, _ROWS_TILE, _BYTES = 1024, 4096, 256
"""Numbers that a program holds at once: of neurons; of rows of statistics; bytes of bits."""
_WIDEST = 128
"""Channels of a tile at most; a thread then reads 16 bytes at once."""
_PROGRAMS = 8
"""Programs for every multiprocessor, for kernels that add up what they see on their way."""


@cache
def available(device: torch.device) -> bool:
    """Whether Triton is installed and compiles for this GPU; tried once, by a kernel of one byte."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    try:
        pack(torch.ones(8, device=device), spikes=True)
    except Exception as error:  # whatever a compiler that is missing or too old may raise
        first = (str(error).splitlines() or [""])[0]
        log.warning(
            "Triton cannot compile for %s (%s: %s); training goes on with torch's own operations, slower",
            device, type(error).__name__, first,
        )  # fmt: skip
        return False
    return True


def moments(sums: Tensor) -> tuple[Tensor, Tensor]:
    """See `Kernels.moments`."""
    channels = sums.shape[1]
    rows = sums.numel() // channels
    tile = _tile(channels, _ROWS_TILE)
    grid = _grid(rows, channels, tile, sums.device)
    partial = torch.empty((grid[0], 3, channels), dtype=torch.float32, device=sums.device)
    _start("moments", grid, sums, partial, rows, channels, **tile)
    count, means, squares = partial.double().unbind(1)
    mean = (count * means).sum(0) / rows
    return mean, (squares + count * (means - mean) ** 2).sum(0)


def forward(neurons: Neurons, sums: Tensor, extra: Tensor | None, spikes: Tensor) -> Tensor:
    """See `Kernels.forward`."""
    return _forward(neurons, sums, extra, spikes, neurons.pool).sum().float()


def _forward(neurons: Neurons, sums: Tensor, extra: Tensor | None, into: Tensor, make: str | None) -> Tensor:
    """What is to be made of the spikes; their numbers, one a program."""
    grid, sizes, options = _layer(neurons, sums, extra, make)
    counts = torch.empty(grid, dtype=torch.int32, device=sums.device)
    beside = sums if extra is None else extra  # where there is none, nobody reads it
    _start("forward", grid, sums, beside, neurons.parameters, into, counts, **sizes, **options)
    return counts


def backward(
    neurons: Neurons,
    sums: Tensor,
    extra: Tensor | None,
    gradient: Tensor,
    per_spike: Tensor,
    flow: Tensor,
) -> Tensor:
    """See `Kernels.backward`."""
    first = gradient  # where there is no maximum, nobody reads it
    if neurons.pool == "max":
        first = torch.empty_like(gradient, dtype=torch.uint8)
        _forward(neurons, sums, extra, first, "first")
    grid, sizes, options = _layer(neurons, sums, extra, neurons.pool)
    partial = torch.empty((grid[0], 3, sums.shape[1]), dtype=torch.float32, device=sums.device)
    last = {
        "last": (neurons.steps - 1) * sizes["whole_step"],
        "last_pooled": (neurons.steps - 1) * sizes["pooled_step"],
    }
    beside = sums if extra is None else extra
    tensors = (sums, beside, neurons.parameters, gradient, per_spike, first, flow, partial)
    _start("backward", grid, *tensors, **sizes, **last, **options)
    return partial.double().sum(0)


def affine(flow: Tensor, value: Tensor, coefficients: Tensor, into: Tensor) -> None:
    """See `Kernels.affine`."""
    channels = flow.shape[1]
    rows, tile = flow.numel() // channels, _tile(channels, _ROWS_TILE)
    grid = (_cover(rows, tile["ROWS"]), _cover(channels, tile["COLUMNS"]))
    _start("affine", grid, flow, value, coefficients, into, rows, channels, **tile)


def pack(value: Tensor, *, spikes: bool) -> Tensor:
    """See `Kernels.pack`; to look first would be to wait for the device."""
    if not spikes:
        return value
    bits = torch.empty((value.numel() + 7) // 8, dtype=torch.uint8, device=value.device)
    _start("pack", (_cover(len(bits), _BYTES),), value, bits, value.numel(), BYTES=_BYTES)
    return bits


def unpack(bits: Tensor, into: Tensor) -> None:
    """See `Kernels.unpack`."""
    _start("unpack", (_cover(len(bits), _BYTES),), bits, into, into.numel(), BYTES=_BYTES)


def _layer(
    neurons: Neurons, sums: Tensor, extra: Tensor | None, make: str | None
) -> tuple[tuple[int, int], dict[str, Any], dict[str, Any]]:
    """Grid, sizes and constants of a call. Without a pool a window is one pixel, and a step one long row of them.

    make: of a window's spikes, None without a pool, "max", "sum", or "first" for the first corner that fires.
    """
    channels, pool = sums.shape[1], neurons.pool
    pixels = sums[0].numel() // channels
    height, width = (1, 1) if pool is None else sums.shape[2:]
    whole = (height // 2) * (width // 2)
    windows = neurons.samples * (pixels if pool is None else _cover(height, 2) * _cover(width, 2))
    tile = _tile(channels, _TILE)
    sizes = {
        "steps": neurons.steps,
        "windows": windows,
        "height": height,
        "width": width,
        "channels": channels,
        "whole_step": neurons.samples * pixels * channels,
        "pooled_step": neurons.samples * (pixels if pool is None else whole) * channels,
        "leak": float(neurons.membrane.leak),
        "threshold": neurons.membrane.threshold,
    }
    options = {
        "FIXED": neurons.fixed(sums),
        "EXTRA": extra is not None,
        "SOFT": neurons.membrane.reset == "soft",
        "LEVELS": float(neurons.levels),
        "OFFSET": neurons.offset,
        "MAKE": (None, "max", "sum", "first").index(make),
        "CORNERS": 1 if pool is None else 4,
    }
    return _grid(windows, channels, tile, sums.device), sizes, options | tile


def _tile(channels: int, size: int) -> dict[str, int]:
    """A tile of `size` numbers, all channels of a pixel in it where they fit."""
    columns = min(_WIDEST, 1 << (channels - 1).bit_length())
    return {"ROWS": max(1, size // columns), "COLUMNS": columns}


def _grid(rows: int, channels: int, tile: dict[str, int], device: torch.device) -> tuple[int, int]:
    """Enough programs to keep the device busy, but few, so that little is left to add up behind them."""
    blocks = _cover(channels, tile["COLUMNS"])
    return min(_cover(rows, tile["ROWS"]), max(1, _programs(device) // blocks)), blocks


@cache
def _programs(device: torch.device) -> int:
    if device.type != "cuda":  # Triton's interpreter, in tests
        return 3
    return _PROGRAMS * int(torch.cuda.get_device_properties(device).multi_processor_count)


def _cover(size: int, part: int) -> int:
    return -(-size // part)


def _start(name: str, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    from bitspike.block import triton_kernels

    # Triton starts kernels on the current GPU, which need not be the one that holds the tensors. It may fuse a product
    # and a sum, as the engine's C is compiled to; newer versions warn where that is left open.
    with torch.cuda.device_of(arguments[0]):
        getattr(triton_kernels, name)[grid](*arguments, **options, enable_fp_fusion=True)
