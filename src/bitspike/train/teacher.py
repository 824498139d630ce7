"""A trained network that teaches another: its logits beside the labels (knowledge distillation)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bitspike.data import Dataset
from bitspike.train.container import weights_digest
from bitspike.train.evaluate import check_fit
from bitspike.train.model_file import find_model_file, load_model


class Teacher:
    """A network in eval state whose answers are constants; any module that gives [T, B, K] or [B, K] can teach."""

    def __init__(self, net: nn.Module, device: torch.device, *, channels_last: bool = False) -> None:
        # The same weights answer differently at other bits or time steps.
        made = {"module": repr(net), "options": getattr(net, "model_options", None)}
        self.fingerprint = weights_digest({name: value.cpu() for name, value in net.state_dict().items()}, **made)
        self.net = copy.deepcopy(net).to(device).eval().requires_grad_(False)
        if channels_last:
            self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def logits(self, inputs: Tensor, classes: int) -> Tensor:
        """What it says about a batch, the mean over time: float32 [B, K]."""
        found: Tensor = self.net(inputs)
        mean = found.float().mean(0) if found.dim() == 3 else found.float()
        if mean.dim() != 2 or mean.shape[1] != classes:
            raise ValueError(
                f"the teacher returned logits of shape {list(found.shape)}; they must be [T, B, {classes}] or "
                f"[B, {classes}]"
            )
        return mean


def load_teacher(path: str, data: Dataset) -> nn.Module:
    """The network of a model file, or of a run's folder, that will teach on this data."""
    file = find_model_file(path, "teacher.model")
    net, _ = load_model(file)
    try:
        check_fit(net, data)
    except ValueError as error:
        raise ValueError(f"teacher.model: {file} cannot teach on this data: {error}") from None
    return net
