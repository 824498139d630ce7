"""`import_torch`: a trained torch module as a network of blocks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bitspike.imports.building import Entrance, Samples, build
from bitspike.imports.watch import watch


def import_torch(
    module: nn.Module,
    input_shape: Sequence[int],
    time_steps: int,
    *,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    bound: int | None = None,
    samples: Samples | None = None,
    seed: int = 0,
) -> nn.Module:
    """A network of blocks, at 32 bits, that gives the spikes of a trained torch module on a test batch.

    The module is a chain of Conv2d, Linear, BatchNorm, pooling, Flatten and neurons of snnTorch (Leaky) or SpikingJelly
    (IFNode, LIFNode, ParametricLIFNode), ending with a Linear or with neurons; what is added right before neurons, as
    in residual blocks, becomes a skip. It makes one time step at a call, loops over them, or takes them all. What has
    no equal is refused by its name (ValueError).

    input_shape: (C, H, W), or (features,); time_steps: T, the image is shown at every step.
    mean, std: what the module's inputs were normalized with, x = (pixel / 255 - mean) / std, one number or one per
        colour; the mean is rounded to whole pixels. By default pixels from 0 to 1.
    bound: the largest count, for a module that takes event counts [T, B, C, H, W] as they are.
    samples: uint8 samples to compare on, [B, C, H, W] or [T, B, C, H, W]; by default random ones, from `seed`.
    The network is in eval state; `net.imported` tells what came over. Quantize it with `ptq.calibrate_`, which keeps
    the neurons.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"import_torch takes a torch module, not {type(module).__name__}")
    entrance = Entrance.of(input_shape, time_steps, mean, std, bound)
    batch = entrance.samples(samples, seed)
    seen, returned = watch(module, entrance.seen_by_source(batch), steps=entrance.steps)
    return build(seen, entrance, batch, "torch", returned=returned)
