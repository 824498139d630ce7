"""Worker `spikingjelly`: the multi-step network as its documentation writes one."""

from __future__ import annotations

from spikingjelly.activation_based import functional, layer, neuron, surrogate
from torch import Tensor, nn

from _training.peer import serve_peer
from _training.peer_networks import NETWORKS


def lif() -> nn.Module:
    """h = v / 2 + x, hard reset to 0: our neuron, with spikingjelly's usual surrogate."""
    node: nn.Module = neuron.LIFNode(
        tau=2.0, decay_input=False, v_reset=0.0, surrogate_function=surrogate.ATan(), step_mode="m"
    )
    return node


class MultiStep(nn.Module):
    """All T steps of a layer at once: images [B, C, H, W] to mean logits [B, classes]."""

    def __init__(self, network: str, time_steps: int) -> None:
        super().__init__()
        self.time_steps = time_steps
        self.layers = NETWORKS[network](layer, lif)
        functional.set_step_mode(self, step_mode="m")

    def forward(self, images: Tensor) -> Tensor:
        functional.reset_net(self)  # states live until the step is over, as where a training loop resets behind it
        repeated = images.unsqueeze(0).repeat(self.time_steps, 1, 1, 1, 1)
        logits: Tensor = self.layers(repeated)
        return logits.mean(0)


if __name__ == "__main__":
    serve_peer(MultiStep, neuron.LIFNode)
