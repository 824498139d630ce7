"""The fused training form on a GPU, where there is one; elsewhere `test_triton` interprets the same kernels."""

import contextlib

import pytest
import torch
from test_native import SKIPS, both, conv, spikes
from torch import nn

from bitspike.block import MaxPool, SumPool, native

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(autouse=True)
def exact_sums(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def layer(skip, pool):
    block = conv(16, 32, weight="binary", membrane="2 bits", skip=SKIPS[skip], pool=pool).cuda()
    sides = {None: (), "plain": (spikes(4, 8, 32, 16, 16, seed=1),), "own": (spikes(4, 8, 3, 16, 16, seed=1),)}
    return block, [value.cuda() for value in (spikes(4, 8, 16, 16, 16), *sides[skip])]


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("pool", [None, MaxPool(2), SumPool(2)])
@pytest.mark.parametrize("skip", [None, "plain", "own"])
def test_a_layer_is_the_same(skip, pool, half):
    @contextlib.contextmanager
    def fused():
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            yield

    block, operands = layer(skip, pool)
    assert native.usable(block, operands[0], None)
    plain, ours = both(block, *operands, kind=fused)
    assert float((ours[0].float() != plain[0].float()).float().mean()) < (0.01 if half else 1e-4)
    for name, expected in plain[1].items():
        alike = float(nn.functional.cosine_similarity(ours[1][name].flatten(), expected.flatten(), dim=0))
        assert alike > (0.99 if half else 0.9999), name
    for name, expected in plain[2].items():
        torch.testing.assert_close(ours[2][name], expected, rtol=1e-2 if half else 1e-4, atol=1e-2 if half else 1e-4)


@pytest.mark.parametrize("skip", [None, "plain", "own"])
def test_nobody_waits_for_the_device(skip):
    block, operands = layer(skip, MaxPool(2))
    for operand in operands:
        operand.requires_grad_()
    block(*operands).sum().backward()  # kernels are compiled, and memory is there
    torch.cuda.set_sync_debug_mode("error")
    try:
        block(*operands).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
