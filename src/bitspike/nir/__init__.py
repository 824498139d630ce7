"""Integer networks in NIR files: real values in the nodes for other tools, the integers in their metadata."""

from bitspike.nir.files import DEFAULT_DT
from bitspike.nir.nodes import CannotExport
from bitspike.nir.write import NirReport, export_nir, read_nir

__all__ = ["DEFAULT_DT", "CannotExport", "NirReport", "export_nir", "read_nir"]
