"""Quantizing a network that is trained, without training it again."""

from bitspike.ptq.calibrate import Calibration, calibrate_, wanted_specs
from bitspike.ptq.change import RANGES, SpecChange

__all__ = ["RANGES", "Calibration", "SpecChange", "calibrate_", "wanted_specs"]
