"""Integer networks for other places: C99 sources for microcontrollers."""

from bitspike.export.compiled import CompiledNet, Record
from bitspike.export.vectors import random_samples
from bitspike.export.write import ExportReport, c_name, export_c

__all__ = ["CompiledNet", "ExportReport", "Record", "c_name", "export_c", "random_samples"]
