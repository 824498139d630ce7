"""Worker `snntorch`: the network called once per time step, as its tutorials write it."""

from __future__ import annotations

import snntorch
import torch
from snntorch import utils
from torch import Tensor, nn

from _training.peer import serve_peer
from _training.peer_networks import NETWORKS


class StepByStep(nn.Module):
    """Images [B, C, H, W] to mean logits [B, classes]; every step passes through all layers."""

    def __init__(self, network: str, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.layers = NETWORKS[network](nn, lambda: snntorch.Leaky(beta=0.5, init_hidden=True))

    def forward(self, images: Tensor) -> Tensor:
        utils.reset(self.layers)
        return torch.stack([self.layers(images) for _ in range(self.time_steps)]).mean(0)


if __name__ == "__main__":
    serve_peer(StepByStep, snntorch.Leaky)
