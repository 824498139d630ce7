"""Every quantization choice of a network in one frozen description.

`QuantSpec.parse("1w2u")` is the short form; a TOML table is the long one; both give the same object.
Bits of 32 mean "left in float": such a layer trains and evaluates, but has no integer form.
"""

from bitspike.spec.checks import FLOAT_BITS, MAX_LEAK_EXPONENT
from bitspike.spec.membrane import NEURON_FIELDS, MembraneSpec, nearest_leak, neuron_fields, parse_leak
from bitspike.spec.quant import LayerSpec, Override, QuantSpec, with_changes
from bitspike.spec.weight import DEFAULT_PERCENTILE, FARTHEST_FRACTION, GRID_SCALES, WEIGHT_GRIDS, WeightSpec

__all__ = [
    "DEFAULT_PERCENTILE",
    "FARTHEST_FRACTION",
    "FLOAT_BITS",
    "GRID_SCALES",
    "MAX_LEAK_EXPONENT",
    "NEURON_FIELDS",
    "WEIGHT_GRIDS",
    "LayerSpec",
    "MembraneSpec",
    "Override",
    "QuantSpec",
    "WeightSpec",
    "nearest_leak",
    "neuron_fields",
    "parse_leak",
    "with_changes",
]
