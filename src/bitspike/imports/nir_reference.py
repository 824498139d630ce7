"""A small interpreter of NIR in float64, written from NIR's equations: what an imported graph is compared with."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bitspike.imports.nir_nodes import Clock, numbers, pair, window


def run_node(name: str, node: Any, value: Tensor, clock: Clock) -> Tensor:
    """What a node gives of [T, B, ...]."""
    result = value
    match type(node).__name__:
        case "Conv2d":
            stride, padding = window(name, node)
            flat = F.conv2d(value.flatten(0, 1), numbers(node.weight), numbers(node.bias), stride, padding)
            result = flat.reshape(*value.shape[:2], *flat.shape[1:])
        case "Linear":
            result = F.linear(value, numbers(node.weight))
        case "Affine":
            result = F.linear(value, numbers(node.weight), numbers(node.bias))
        case "Scale":
            result = value * numbers(node.scale)
        case "Flatten":
            result = value.flatten(2)
        case "SumPool2d" | "AvgPool2d":
            kernel = pair(node.kernel_size)
            flat = F.avg_pool2d(value.flatten(0, 1), kernel, pair(node.stride), pair(node.padding))
            result = flat.reshape(*value.shape[:2], *flat.shape[1:])
            if type(node).__name__ == "SumPool2d":
                result = result * math.prod(kernel)
        case "Threshold":
            result = (value > numbers(node.threshold)).double()
        case "LIF" | "IF":
            result = _spikes(node, value, clock)
    return result


def _spikes(node: Any, current: Tensor, clock: Clock) -> Tensor:
    """Step by step: change, compare, reset."""
    leaky = type(node).__name__ == "LIF"
    threshold, start, resistance = (_shaped(part, current) for part in (node.v_threshold, node.v_reset, node.r))
    rest = _shaped(node.v_leak, current) if leaky else torch.zeros_like(start)
    tau = _shaped(node.tau, current) if leaky else torch.ones_like(start)
    # At first a membrane is where it leaks to and is reset to; NIR leaves it open otherwise, and it is at zero.
    potential = torch.zeros_like(current[0])
    if leaky and torch.equal(rest, start):
        potential = potential + start
    last = torch.zeros_like(potential)
    found = []
    for now in current:
        if not leaky:
            potential = potential + clock.dt * resistance * now
        elif clock.integration == "euler":
            potential = potential + clock.dt / tau * ((rest - potential) + resistance * now)
        else:
            aim = rest + resistance * now
            potential = aim + (potential - aim) * torch.exp(-clock.dt / tau)
        amount = threshold - start
        if clock.reset == "delayed":
            potential = potential - last * amount
        last = (potential > threshold).double()
        found.append(last)
        if clock.reset == "hard":
            potential = torch.where(last > 0, start.expand_as(potential), potential)
        elif clock.reset == "soft":
            potential = potential - last * amount
    return torch.stack(found)


def _shaped(value: Any, current: Tensor) -> Tensor:
    """A neuron's field that meets [B, ...]: one number, one a channel, or one a neuron."""
    given = numbers(value)
    while given.dim() > current.dim() - 2 and given.shape[0] == 1:
        given = given[0]
    if given.dim() == 1 and given.numel() == current.shape[2]:
        return given.reshape(-1, *(1,) * (current.dim() - 3))
    return given
