"""The cases: which network, how many time steps, which batches; and the precision that this processor trains in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _inference.samples import images
from _shared.environment import BUILD

FOLDER = BUILD / "training"
CLASSES = 10


@dataclass(frozen=True)
class Case:
    """A network of ours by its name in the registry, which peers build from their own layers, and its batches."""

    network: str
    time_steps: int
    batch: int
    model: str
    shape: tuple[int, int, int]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As the project's goals spell it."""
        return f"{self.network} T={self.time_steps} B={self.batch}"


CASES = (
    Case("mnist-convnet", 4, 128, "small28", (1, 28, 28)),
    Case("resnet20-slim", 2, 64, "resnet20", (3, 32, 32), {"first": 16, "widths": [16, 32, 64]}),
)


def write_batches(case: Case, count: int, seed: int = 0) -> Path:
    """A file of `count` batches: uint8 images [N, B, C, H, W] of spectrum 1/f and labels [N, B], both random."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{case.network}-{count}.npz"
    pixels = images(count * case.batch, case.shape, seed).reshape(count, case.batch, *case.shape)
    labels = np.random.default_rng(seed).integers(0, CLASSES, (count, case.batch))
    np.savez(path, images=pixels, labels=labels)
    return path


def native_precision() -> str:
    """bfloat16 where the processor multiplies it itself; elsewhere it is emulated, and float32 is faster."""
    able = torch.cpu.get_capabilities()
    return "bfloat16" if any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")) else "float32"
