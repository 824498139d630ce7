"""What networks are built from: spiking layers, pooling, inputs, readout.

A network is any torch module whose forward pass calls blocks on blocks' results. It trains as it is, runs as
integers after `eval()`, and lowers to an `IntegerNet` with `bitspike.lower`.
"""

from bitspike.block.base import Block, Form, blocks_of, real_form
from bitspike.block.layers import SpikingBlock, SpikingConv2d, SpikingLinear
from bitspike.block.plain import EventInput, Flatten, GlobalSumPool, ImageInput, MaxPool, SumPool
from bitspike.block.quantize import QuantizeReport, quantize_, set_progress_
from bitspike.block.readout import Readout
from bitspike.block.recalibrate import recalibrate_
from bitspike.block.spiking import ConvSkip, PlainSkip

__all__ = [
    "Block",
    "ConvSkip",
    "EventInput",
    "Flatten",
    "Form",
    "GlobalSumPool",
    "ImageInput",
    "MaxPool",
    "PlainSkip",
    "QuantizeReport",
    "Readout",
    "SpikingBlock",
    "SpikingConv2d",
    "SpikingLinear",
    "SumPool",
    "blocks_of",
    "quantize_",
    "real_form",
    "recalibrate_",
    "set_progress_",
]
