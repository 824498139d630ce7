"""BindsNET's network on given spike trains, in float64 and without chance: what the fidelity test compares with.

    python -m _stdp.follow_bindsnet GIVEN.npz FOUND.npz

GIVEN: setup (JSON), weights, theta, trains [B, T, inputs]. FOUND: winners [B, T], weights and theta at the end.

BindsNET draws one of the neurons that reach their thresholds; here it takes the first, as ours with winner "lowest".
All its numbers are made double: `.float()` in its code would go back to single.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch

torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
torch.FloatTensor = torch.DoubleTensor  # type: ignore[misc]
torch.multinomial = lambda weights, _count: weights.argmax(1, keepdim=True)  # type: ignore[assignment]

from _stdp.bindsnet_network import import_bindsnet, make_network, weight_of  # noqa: E402


def main() -> None:
    """Run, and write what was found."""
    torch.set_num_threads(1)
    import_bindsnet()
    from bindsnet.network.monitors import Monitor

    given = np.load(sys.argv[1])
    setup = json.loads(str(given["setup"]))
    network = make_network(setup, given["weights"], given["theta"], 1, torch.float64)
    monitor = Monitor(network.layers["Ae"], ["s"], time=setup["steps"])
    network.add_monitor(monitor, "spikes")
    winners = []
    for train in given["trains"]:
        given_spikes = torch.from_numpy(train.astype(np.uint8)).unsqueeze(1)
        network.run(inputs={"X": given_spikes}, time=setup["steps"] * setup["dt"])
        spikes = monitor.get("s").reshape(setup["steps"], setup["neurons"]).numpy()
        if (spikes.sum(1) > 1).any():
            raise RuntimeError("more than one neuron spiked in a step")
        winners.append(np.where(spikes.any(1), spikes.argmax(1), -1))
        network.reset_state_variables()
    np.savez(
        sys.argv[2],
        winners=np.array(winners, np.int16),
        weights=weight_of(network).numpy(),
        theta=network.layers["Ae"].theta.numpy(),
        rates=network.connections[("X", "Ae")].pipeline[0].learning_rule.nu.numpy(),
    )


if __name__ == "__main__":
    main()
