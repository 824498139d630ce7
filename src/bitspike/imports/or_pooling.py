"""Max pooling of spikes as NIR files write it: NIR has no maximum, so neurons fire where a window's sum is not zero."""

from __future__ import annotations

from dataclasses import replace

from bitspike.imports.layers import Layer, Neuron, Nothing, Pooling
from bitspike.imports.wiring import INPUT, Wired


def as_max_pooling(layer: Layer, number: int, nodes: list[Wired]) -> Layer:
    """A max pooling in place of neurons that fire at every spike in a window of node `number`, else the layer itself.

    Such neurons are reset whenever they got something, so they remember nothing. The pooling that feeds them, and that
    only they may read, then stands for nothing in `nodes`.
    """
    if not isinstance(layer, Neuron) or number == INPUT:
        return layer
    node = nodes[number]
    pooling = node.layer
    if not isinstance(pooling, Pooling) or pooling.kind == "max" or pooling.kernel is None or node.reads[0] == INPUT:
        return layer
    source = nodes[node.reads[0]]
    of_spikes = isinstance(source.layer, Neuron) or (isinstance(source.layer, Pooling) and source.layer.kind == "max")
    one_spike = 1 / (pooling.kernel[0] * pooling.kernel[1]) if pooling.kind == "average" else 1.0
    always = bool((layer.gain * one_spike > layer.threshold).all()) and bool((layer.threshold >= 0).all())
    if not of_spikes or not always or not layer.hard or bool(layer.drive.any()):
        return layer
    nodes[number] = replace(node, layer=Nothing(pooling.name), result=source.result)
    return replace(pooling, name=layer.name, kind="max")
