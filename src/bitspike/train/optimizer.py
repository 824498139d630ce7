"""The optimizer of a recipe; weight decay pulls on convolution and linear weights only, unless told.

It never pulls on learned scales of weights: a smaller scale is no simpler network.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block.learned import learned_scales
from bitspike.train.config import TrainConfig


def parameter_groups(net: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Decayed and undecayed parameters, each in the network's order, by which checkpoints number them."""
    trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("the network has no trainable parameters")
    # Batch-norm parameters and biases are vectors; the weights of convolutions and linear layers are not.
    scales = {id(parameter) for parameter in learned_scales(net)}

    def decays(parameter: nn.Parameter) -> bool:
        return id(parameter) not in scales and (config.decay == "all" or parameter.dim() >= 2)

    weights = [parameter for parameter in trained if decays(parameter)]
    rest = [parameter for parameter in trained if not decays(parameter)]
    groups = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with momentum, Adam (decay added to the gradient) or AdamW (decay apart from it)."""
    groups = parameter_groups(net, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.lr)
    return torch.optim.AdamW(groups, lr=config.lr)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group this rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's memory as flat tensors, "parameter index/key"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}/{key}": value
        for index, values in state.items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give the optimizer back what `optimizer_tensors` took from it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, stored in tensors.items():
        index, _, key = name.partition("/")
        parameter = parameters[int(index)].detach()
        # Files hold plain row-major tensors; the optimizer's own memory follows the parameter's layout.
        same = stored.shape == parameter.shape
        value = torch.empty_like(parameter, dtype=stored.dtype).copy_(stored) if same else stored.clone()
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
