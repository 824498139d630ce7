"""What peers' workers share: their arguments, and the training step as one writes it in plain PyTorch."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from _inference.samples import as_floats
from _shared.serving import own_output
from _training.peer_networks import NETWORKS
from _training.served import LEARNING_RATE, MOMENTUM, firing_rate, serve_training


def serve_peer(make: Callable[[str, int], nn.Module], neurons: type[nn.Module]) -> None:
    """NETWORK BATCHES.npz --steps T: train the network that make(NETWORK, T) gives.

    It takes images [B, C, H, W] and gives mean logits [B, classes]; neurons: the class of its layers of neurons.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("network", choices=sorted(NETWORKS))
    parser.add_argument("batches", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--channels-last", action="store_true")
    given = parser.parse_args()
    pipe = own_output()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = make(given.network, given.steps).train()
    stored = np.load(given.batches)
    images = [torch.from_numpy(batch) for batch in as_floats(stored["images"])]
    labels = [torch.from_numpy(batch) for batch in stored["labels"]]
    if given.channels_last:
        net.to(memory_format=torch.channels_last)
        images = [batch.contiguous(memory_format=torch.channels_last) for batch in images]
    optimizer = torch.optim.SGD(net.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

    def loss(i: int) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=given.precision == "bfloat16"):
            logits = net(images[i])
        return F.cross_entropy(logits.float(), labels[i])

    def step(i: int) -> None:
        optimizer.zero_grad()
        loss(i).backward()
        optimizer.step()

    serve_training(pipe, step, loss, lambda: firing_rate(net, neurons, lambda: loss(0)), net, len(images))
