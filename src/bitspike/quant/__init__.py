"""Pure functions from float tensors to integer grids, each with its gradient."""

from bitspike.quant.membrane import membrane_exponent, quantize_membrane, quantize_membrane_dynamic
from bitspike.quant.odd import initial_gamma
from bitspike.quant.rounding import round_half_up, straight_through
from bitspike.quant.weights import QuantizedWeight, normalize_weight, quantize_weight, register_grid

__all__ = [
    "QuantizedWeight",
    "initial_gamma",
    "membrane_exponent",
    "normalize_weight",
    "quantize_membrane",
    "quantize_membrane_dynamic",
    "quantize_weight",
    "register_grid",
    "round_half_up",
    "straight_through",
]
