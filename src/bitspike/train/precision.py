"""Which numbers a training run computes in: what its recipe says, held against what the device has."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 numbers by itself, and so faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        able = capabilities()
        return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return bool(torch.cpu._is_avx512_bf16_supported())  # torch before 2.10


def chosen_precision(precision: str, device: torch.device) -> str:
    """ "float32" or "bfloat16" for "auto"; what the device does not have is refused."""
    if precision == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    if precision == "bfloat16" and not has_bfloat16(device):
        name = "this processor" if device.type == "cpu" else f"the device {device}"
        raise ValueError(
            f'train.precision is "bfloat16", which {name} does not compute with; give "float32", or "auto" for '
            "bfloat16 where there is one"
        )
    return precision
