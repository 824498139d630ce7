"""Networks trained elsewhere as networks of blocks: torch modules of snnTorch and SpikingJelly, NIR files."""

from bitspike.imports.from_nir import import_nir
from bitspike.imports.from_torch import import_torch
from bitspike.imports.report import ImportedLayer, ImportReport

__all__ = ["ImportReport", "ImportedLayer", "import_nir", "import_torch"]
