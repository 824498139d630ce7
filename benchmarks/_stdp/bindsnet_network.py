"""BindsNET 0.3.4 and its DiehlAndCook2015, made to run beside a torch that it does not ask for.

Its package imports plotting, data sets and a pipeline, none of which the network needs and some of which cannot be
installed beside this torch: modules are imported one by one instead, with those left out.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch

VERSION = "0.3.4"
_ABSENT = (
    *("tensorboardX", "torchvision", "torchvision.utils", "torchvision.transforms", "tqdm", "matplotlib", "pandas"),
    *("matplotlib.pyplot", "sklearn", "sklearn.linear_model", "scipy", "scipy.spatial", "scipy.spatial.distance"),
)
_LEFT_OUT = ("bindsnet.datasets", "bindsnet.pipeline", "bindsnet.environment", "bindsnet.analysis")


class _Anything(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def import_bindsnet() -> None:
    """Make `bindsnet.models` and what it stands on importable."""
    if "bindsnet" in sys.modules:
        return
    found = importlib.util.find_spec("bindsnet")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("bindsnet is not installed here")
    package = ModuleType("bindsnet")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["bindsnet"] = package
    missing = [name for name in _ABSENT if importlib.util.find_spec(name.partition(".")[0]) is None]
    for name in (*missing, *_LEFT_OUT):
        sys.modules[name] = _Anything(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)  # others ask whether there is such a module
    importlib.import_module("bindsnet.network")  # first: the rest goes round in circles


def make_network(setup: dict[str, Any], weights: Any, theta: Any, batch: int, dtype: torch.dtype) -> Any:
    """DiehlAndCook2015 with our constants, weights [inputs, neurons] and adaptive thresholds; batch: at once."""
    import_bindsnet()
    from bindsnet.models import DiehlAndCook2015

    network = DiehlAndCook2015(
        n_inpt=setup["inputs"],
        n_neurons=setup["neurons"],
        exc=setup["excitation"],
        inh=setup["inhibition"],
        dt=setup["dt"],
        nu=(setup["rate_pre"], setup["rate_post"]),
        norm=setup["norm"],
        theta_plus=setup["theta_plus"],
        tc_theta_decay=setup["theta_tau"],
        inpt_shape=(setup["inputs"],),
        batch_size=batch,
        w_dtype=dtype,
    )
    weight_of(network).copy_(torch.as_tensor(weights, dtype=dtype))
    network.layers["Ae"].theta.copy_(torch.as_tensor(theta, dtype=dtype))
    return network


def weight_of(network: Any) -> torch.Tensor:
    """The learned weights, to be read and written in place."""
    found: torch.Tensor = network.connections[("X", "Ae")].pipeline[0].value
    return found.data
