"""Networks trained elsewhere as networks of blocks: torch modules of snnTorch and SpikingJelly, NIR files."""

from bitspike.imports.from_nir import import_nir
from bitspike.imports.from_torch import import_torch
from bitspike.imports.nir_compare import LayerNearness, Nearness, compare_nir
from bitspike.imports.report import ImportedLayer, ImportReport

__all__ = ["ImportReport", "ImportedLayer", "LayerNearness", "Nearness", "compare_nir", "import_nir", "import_torch"]
