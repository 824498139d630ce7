"""bitspike: spiking neural networks from research to integers on real hardware.

Nothing heavy is imported here; names load what they need on first use. `explore` is no name of its own, since it would
hide the subpackage: `from bitspike.explore import explore`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bitspike._version import __version__
from bitspike.spec import LayerSpec, MembraneSpec, QuantSpec, WeightSpec

if TYPE_CHECKING:
    from bitspike.block import quantize_, real_form, recalibrate_
    from bitspike.imports import import_nir, import_torch
    from bitspike.lowering import lower
    from bitspike.measuring import measure
    from bitspike.model import create_model
    from bitspike.nir import export_nir, read_nir
    from bitspike.prune import prune_
    from bitspike.ptq import calibrate_
    from bitspike.runtime import IntegerNet, certify

_LAZY = {
    "IntegerNet": "bitspike.runtime",
    "calibrate_": "bitspike.ptq",
    "certify": "bitspike.runtime",
    "create_model": "bitspike.model",
    "export_nir": "bitspike.nir",
    "import_nir": "bitspike.imports",
    "import_torch": "bitspike.imports",
    "lower": "bitspike.lowering",
    "measure": "bitspike.measuring",
    "prune_": "bitspike.prune",
    "quantize_": "bitspike.block",
    "read_nir": "bitspike.nir",
    "real_form": "bitspike.block",
    "recalibrate_": "bitspike.block",
}

__all__ = [
    "IntegerNet",
    "LayerSpec",
    "MembraneSpec",
    "QuantSpec",
    "WeightSpec",
    "__version__",
    "calibrate_",
    "certify",
    "create_model",
    "export_nir",
    "import_nir",
    "import_torch",
    "lower",
    "measure",
    "prune_",
    "quantize_",
    "read_nir",
    "real_form",
    "recalibrate_",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bitspike' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(f"bitspike.{name} needs torch: pip install 'bitspike[train]'", name="torch") from None
    globals()[name] = value
    return value
