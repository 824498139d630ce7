"""A convolution with an average pool behind it, before any neuron, is one convolution with a larger kernel."""

from __future__ import annotations

from dataclasses import replace

import torch

from bitspike.imports.layers import Pooling, Weighted


def behind_average(weights: Weighted, pool: Pooling) -> Weighted:
    """The convolution that gives what `pool` gives of `weights`: W'[y] = sum over window places q of W[y - stride q].

    A batch norm between them, or behind, acts on channels alone and so stays as it is.
    """
    if pool.kernel is None or pool.stride is None:
        raise ValueError(f"{pool.name} pools the whole map; the convolution would be as large")
    rows, columns = pool.kernel
    down, across = weights.stride
    outputs, inputs, height, width = weights.weight.shape
    wide = torch.zeros(outputs, inputs, height + down * (rows - 1), width + across * (columns - 1)).double()
    for y in range(rows):
        for x in range(columns):
            wide[:, :, down * y : down * y + height, across * x : across * x + width] += weights.weight
    share = 1.0 if pool.kind == "sum" else 1 / (rows * columns)
    stride = (down * pool.stride[0], across * pool.stride[1])
    bias = weights.bias
    if bias is not None and pool.kind == "sum":
        bias = bias * rows * columns
    return replace(weights, weight=wide * share, bias=bias, stride=stride)
