"""What one process and several compute alike; as a program under torchrun, each process writes what it found."""

import contextlib
import io
import itertools
import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bitspike.block import ConvSkip, PlainSkip, SpikingConv2d, native
from bitspike.block.across import processes, summed
from bitspike.cli.running import run as command_line
from bitspike.data import load
from bitspike.spec import MembraneSpec, WeightSpec
from bitspike.train.config import Recipe
from bitspike.train.distributed import share, together
from bitspike.train.from_recipe import build_net
from bitspike.train.interrupt import TrainingStopped
from bitspike.train.run import train

torch.set_num_threads(1)

WAYS = {"native": contextlib.nullcontext, "plain": native.plain}
RUNS = [(quant, way) for quant in ("1w2u", "32w32u") for way in WAYS]
SKIPS = {"none": None, "plain": PlainSkip(), "shared": ConvSkip(3), "own": ConvSkip(3, norm="own")}
LAYERS = [(skip, bits, way) for skip in SKIPS for bits in ("float", "few") for way in WAYS]

RECIPE = """
quant = "1w2u"
[model]
name = "small8"
options = { widths = [4, 8] }
[data]
name = "digits"
time_steps = 2
[train]
epochs = 8
batch = 256
lr = 3e-2
ema = 0.9
validate_every = 3
[regulation]
spike_loss = 1e-3
layers = "all"
"""
LINE = ("train", "small.toml", "--device", "cpu", "--save-every", "0", "--json", "--out")


def table(quant: str) -> dict:
    """A recipe with everything that the processes share: statistics, spike-rate loss, clipping, average, crops."""
    return {
        "name": "shared",
        "quant": quant,
        "model": {"name": "small8", "options": {"widths": [4, 8]}},
        "data": {"name": "digits", "time_steps": 2, "validation": 0.25},
        "train": {"epochs": 8, "batch": 32, "lr": 1e-2, "ema": 0.9, "clip": 0.5, "warmup_epochs": 1},
        "regulation": {"spike_loss": 0.1, "layers": "all"},
        "augment": {"crop": 1},
    }


def trained(quant: str, way: str) -> tuple[dict, dict[str, Tensor]]:
    """Results and final state of a short training of 96 digits: three steps an epoch."""
    recipe, data = Recipe.from_dict(table(quant)), load("digits", "train").subset(slice(0, 128))
    with WAYS[way]():
        result = train(build_net(recipe, data), data, recipe, device="cpu", show_progress=False)
    return result.results, result.net.state_dict()


def computed(skip: str, bits: str, way: str) -> dict[str, Tensor]:
    """Spikes, gradients and statistics of one call of a layer on the share of a batch; gradients summed up."""
    torch.manual_seed(3)
    block = SpikingConv2d(3, 5 if skip != "plain" else 3, skip=SKIPS[skip])
    if bits == "few":
        block.weight_spec, block.membrane_spec = WeightSpec(bits=1), MembraneSpec(bits=2)
    with torch.no_grad():
        for norm in (block.norm, block.skip_norm):
            if norm is not None:
                norm.weight.normal_()
                norm.bias.normal_()
    batch = (torch.rand(2, 3, 8, 3, 6, 6) < 0.3).float()
    factor = torch.randn(3, 8, block.out_channels, 6, 6)
    part = share(8)
    operands = [value[:, part].clone().requires_grad_() for value in (batch if SKIPS[skip] else batch[:1])]
    with WAYS[way]():
        spikes = block(*operands)
    (spikes * factor[:, part]).sum().backward()
    found = {"spikes": spikes.detach(), **{f"operand {i}": value.grad for i, value in enumerate(operands)}}
    found = {f"shared {name}": value.contiguous() for name, value in found.items()}
    found |= {f"gradient {name}": summed(value.grad) for name, value in block.named_parameters()}
    return found | {name: value for name, value in block.state_dict().items() if "running" in name}


def stopped(folder: Path) -> dict:
    """A training that a signal to the last process stops at its seventh step; it goes on to its end."""
    recipe, data = Recipe.from_dict(table("1w2u")), load("digits", "train").subset(slice(0, 128))
    net = build_net(recipe, data)
    steps = itertools.count(1)

    def signal_once(module: nn.Module, *_: object) -> None:
        if module.training and next(steps) == 7 and int(os.environ["RANK"]) + 1 == int(os.environ["WORLD_SIZE"]):
            os.kill(os.getpid(), signal.SIGTERM)

    net.register_forward_hook(signal_once)
    found: dict = {}
    try:
        train(net, data, recipe, out=folder, device="cpu", show_progress=False)
    except TrainingStopped as stop:
        found = {"message": str(stop), "signal": stop.signal_number, "states": len(list(folder.iterdir()))}
    result = train(build_net(recipe, data), data, recipe, out=folder, device="cpu", show_progress=False)
    return {**found, "resumed": result.resumed, "history": result.results["history"]}


def commanded(*words: object) -> dict:
    """Exit code and words of a command line."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = command_line(list(map(str, words)))
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def main(folder: Path) -> None:
    number = os.environ["RANK"]
    with together():
        assert processes() == int(os.environ["WORLD_SIZE"])
        for case in LAYERS:
            save_file(computed(*case), folder / f"{'-'.join(case)}.{number}")
    found: dict = {}
    for case in RUNS:  # each opens a group of its own
        found["-".join(case)], state = trained(*case)
        save_file(state, folder / f"{'-'.join(case)}.{number}")
    for again in range(8):  # what was left of a group that failed used to hang here sooner or later
        stopped(folder / f"stopped-{again}")
    found["stopped"] = stopped(folder / "stopped")
    found["killed"] = commanded(*LINE, folder / "killed")
    found["whole"] = commanded(*LINE, folder / "whole")
    found["refused"] = commanded(*LINE, folder / "refused", "--set", "train.batch=63")
    (folder / f"found.{number}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main(Path(sys.argv[1]))
