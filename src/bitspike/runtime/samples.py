"""Checking what a caller wants to feed into a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.integer.graph import Graph


def checked(graph: Graph, samples: Any) -> NDArray[np.uint8]:
    """All steps of a batch: uint8 [B, C, H, W] of images or [T, B, C, H, W] of events, side by side in memory."""
    return _checked(graph, samples, batch_axes=2 if graph.input.kind == "events" else 1, what="the input")


def checked_step(graph: Graph, samples: Any) -> NDArray[np.uint8]:
    """One step of a batch: uint8 [B, C, H, W]."""
    return _checked(graph, samples, batch_axes=1, what="one step")


def _checked(graph: Graph, samples: Any, *, batch_axes: int, what: str) -> NDArray[np.uint8]:
    array = np.asarray(samples)
    node = graph.input
    layout = "[T, B, C, H, W]" if batch_axes == 2 else "[B, C, H, W]"
    if array.dtype != np.uint8:
        raise TypeError(f"{what} has dtype {array.dtype}; the network takes uint8 {layout}")
    if array.ndim != batch_axes + len(node.shape) or array.shape[batch_axes:] != node.shape:
        raise ValueError(
            f"{what} has shape {list(array.shape)}; the network takes {layout} with [C, H, W] = {list(node.shape)}"
        )
    if batch_axes == 2 and array.shape[0] == 0:
        raise ValueError(f"{what} has no time steps; the network takes at least one")
    if batch_axes == 2 and node.time_steps is not None and array.shape[0] != node.time_steps:
        turned = array.shape[1] == node.time_steps
        hint = "; time comes first, [T, B, C, H, W]: np.moveaxis(samples, 1, 0)" if turned else ""
        raise ValueError(f"{what} has {array.shape[0]} time steps; the network takes {node.time_steps}{hint}")
    if node.bound < 255 and array.size and int(array.max()) > node.bound:
        raise ValueError(f"{what} holds counts up to {int(array.max())}; the network takes at most {node.bound}")
    flags = array.flags
    if flags.c_contiguous and flags.writeable:
        return array
    return np.require(array, requirements=["C", "W"])  # torch wants memory that may be written
