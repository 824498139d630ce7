"""The training form on the kernels for GPUs, interpreted on the CPU, against the plain one, which is the definition."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_native import MEMBRANES, SKIPS, WEIGHTS, assert_same, both, conv, spikes
from torch import nn

from bitspike.block import MaxPool, PlainSkip, SpikingLinear, SumPool, cpu_kernels, gpu_kernels, native
from interpreted_triton import as_on_a_gpu, need_interpreter

pytestmark = need_interpreter

POOLS = {None: None, "max": MaxPool(2), "sum": SumPool(2)}
OPERANDS = {
    "plain": spikes(3, 2, 5, 6, 6, seed=1),
    "strided and mapped": spikes(3, 2, 3, 11, 12, seed=1),
    "shared": spikes(3, 2, 3, 6, 6, seed=1),
    "own": spikes(3, 2, 3, 6, 6, seed=1),
}


@pytest.mark.parametrize(
    ("membrane", "pool"),
    [*((membrane, None) for membrane in MEMBRANES), ("2 bits", "max"), ("float soft", "max"), ("4 bits soft", "sum")],
)
def test_a_convolution_is_the_same(membrane, pool):
    block = conv(weight="4 bits", membrane=membrane, pool=POOLS[pool])
    assert_same(*both(block, spikes(3, 2, 3, 5, 7), kind=as_on_a_gpu))


@pytest.mark.parametrize("skip", OPERANDS)
def test_skips_are_the_same(skip):
    block = conv(weight="binary", membrane="2 bits", skip=SKIPS[skip], pool=MaxPool(2) if skip == "own" else None)
    assert_same(*both(block, spikes(3, 2, 3, 6, 6), OPERANDS[skip], kind=as_on_a_gpu))


@pytest.mark.parametrize(("weight", "norm"), [("float", True), ("binary", False), ("8 bits", True)])
def test_a_linear_layer_is_the_same(weight, norm):
    torch.manual_seed(0)
    block = SpikingLinear(37, 11, norm=norm, bias=not norm)
    if not norm:
        nn.init.normal_(block.bias, std=0.1)  # or sums of equal weights would lie on the threshold itself
    block.weight_spec, block.membrane_spec = WEIGHTS[weight], MEMBRANES["2 bits"]
    assert_same(*both(block, spikes(5, 6, 37), kind=as_on_a_gpu))


@pytest.mark.parametrize("pool", [None, "max"])
def test_a_static_image_is_summed_once(pool):
    pixels = torch.randint(-120, 130, (4, 1, 6, 7)).float()
    block = conv(1, 6, weight="8 bits", membrane="4 bits soft", input_scale=1 / 60, pool=POOLS[pool])
    found = []
    start = {name: value.clone() for name, value in block.state_dict().items()}
    for way in (native.plain, as_on_a_gpu):
        block.load_state_dict(start)
        block.zero_grad()
        with way():
            result = block(pixels.expand(4, *pixels.shape))
        (result * torch.arange(result.numel()).reshape(result.shape).sin()).sum().backward()
        found.append((result.detach(), block.weight.grad.clone(), block.norm.weight.grad.clone()))
    assert torch.equal(found[0][0], found[1][0])
    torch.testing.assert_close(found[1][1], found[0][1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found[1][2], found[0][2], rtol=1e-3, atol=1e-3)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.integers(1, 4),
    st.integers(2, 3),
    st.sampled_from([1, 3, 16, 33, 129]),
    st.integers(1, 6),
    st.integers(1, 6),
    st.sampled_from(["float", "2 bits", "4 bits soft"]),
    st.sampled_from(list(POOLS)),
    st.integers(0, 1000),
)
@example(3, 3, 129, 5, 6, "2 bits", "max", 1)  # more tiles than programs, by rows and by columns
@example(2, 3, 129, 6, 6, "4 bits soft", None, 2)
def test_any_shape_is_the_same(steps, samples, channels, height, width, membrane, pool, seed):
    kind = POOLS[pool if min(height, width) > 1 else None]
    block = conv(2, channels, weight="4 bits", membrane=membrane, pool=kind, seed=seed, skip=PlainSkip())
    skip = spikes(steps, samples, channels, height, width, seed=seed)
    value = spikes(steps, samples, 2, height, width, seed=seed + 1)
    assert_same(*both(block, value, skip, kind=as_on_a_gpu), tolerance=2e-3)


@pytest.mark.parametrize("skip", [None, "plain", "own"])
def test_bfloat16_rounds_only_sums_and_gradients(skip):
    @contextlib.contextmanager
    def half():
        with as_on_a_gpu(), torch.autocast("cpu", torch.bfloat16):
            yield

    block = conv(8, 5, weight="binary", membrane="2 bits", skip=SKIPS[skip])
    operand = {None: (), "plain": (spikes(2, 4, 5, 8, 8),), "own": (spikes(2, 4, 3, 8, 8, seed=1),)}[skip]
    plain, ours = both(block, spikes(2, 4, 8, 8, 8), *operand, kind=half)
    assert ours[0].dtype == torch.bfloat16
    assert float((ours[0].float() != plain[0]).float().mean()) < 0.01
    for name, expected in plain[1].items():
        assert float(nn.functional.cosine_similarity(ours[1][name].flatten(), expected.flatten(), dim=0)) > 0.99, name


@pytest.mark.parametrize(("rows", "channels"), [(2, 3), (700, 130), (5000, 5)])
def test_statistics_far_from_zero_lose_nothing(rows, channels):
    generator = torch.Generator().manual_seed(0)
    sums = 300 + torch.randn(rows, channels, generator=generator) * torch.arange(1, channels + 1)
    mean, squares = gpu_kernels.moments(sums)
    assert mean.dtype == squares.dtype == torch.float64
    exact = sums.double()
    torch.testing.assert_close(mean, exact.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(squares, exact.var(0, correction=0) * rows, rtol=1e-5, atol=1e-5)


# ---- spikes as bits ----


@pytest.mark.parametrize("number", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7, 8, 9, 2047, 2048, 5000])
def test_bits_are_the_engines(count, number):
    value = spikes(count).to(number)
    bits = gpu_kernels.pack(value, spikes=True)
    assert bits.dtype == torch.uint8
    expected = torch.zeros((count + 7) // 8 * 8, dtype=torch.int64)
    expected[:count] = value.long()
    assert bits.tolist() == (expected.reshape(-1, 8) << torch.arange(8)).sum(1).tolist()
    if cpu_kernels.available():
        assert torch.equal(bits, cpu_kernels.pack(value, spikes=True))
    back = torch.full_like(value, 9)
    gpu_kernels.unpack(bits, back)
    assert torch.equal(back, value)


def test_what_may_not_be_spikes_stays_what_it_is():
    value = spikes(16)
    assert gpu_kernels.pack(value, spikes=False) is value


def test_a_layer_tells_the_next_one_that_it_gives_spikes():
    with as_on_a_gpu():
        made = conv()(spikes(2, 2, 3, 4, 4))
        pooled = conv(pool=SumPool(2))(spikes(2, 2, 3, 4, 4))
    assert native._are_spikes(made)
    assert not native._are_spikes(pooled)
    assert not native._are_spikes(spikes(2, 2, 3, 4, 4))
    assert not native._are_spikes(made * 2)
    with torch.no_grad():
        made.mul_(2)
    assert not native._are_spikes(made)


def kept_bytes(value, *, block):
    kept = {}

    def note(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with as_on_a_gpu(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        block(value)
    return sorted(kept.values())


def test_a_layers_spikes_are_kept_as_bits():
    block = conv(5, 5, weight="binary", membrane="2 bits")
    with as_on_a_gpu():
        value = conv(weight="binary", membrane="2 bits")(spikes(2, 3, 3, 8, 8))
    places = value.numel()
    assert places // 8 in kept_bytes(value, block=block)
    assert places // 8 not in kept_bytes(value * 1.0, block=block)  # nobody said that these are spikes


# ---- where the kernels are used, and that they compile ----


def test_without_triton_a_gpu_trains_on_torchs_operations(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    gpu_kernels.available.cache_clear()
    assert not gpu_kernels.available(torch.device("cpu"))
    gpu_kernels.available.cache_clear()


def test_a_compiler_that_fails_is_told_and_done_without(monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    monkeypatch.setattr(gpu_kernels, "_start", fail)
    gpu_kernels.available.cache_clear()
    assert not gpu_kernels.available(torch.device("cpu"))
    assert "Triton cannot compile for cpu (RuntimeError: Failed to find C compiler.)" in caplog.text
    gpu_kernels.available.cache_clear()


COMPILE = textwrap.dedent(
    """
    import json, sys
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from bitspike.block import triton_kernels

    for name, signature, constants in json.load(sys.stdin):
        source = ASTSource(getattr(triton_kernels, name), signature, constexprs=constants)
        compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True})
        print(name, len(compiled.asm["cubin"]) > 0)
    """
)
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.uint8: "*u8", torch.int32: "*i32"}


def test_every_kernel_compiles_for_an_ampere_gpu_which_need_not_be_there(monkeypatch, tmp_path):
    calls = {}

    def note(name, grid, *arguments, **options):
        from bitspike.block import triton_kernels

        names = getattr(triton_kernels, name).arg_names
        given = dict(zip(names, arguments, strict=False)) | options
        given = {key: given[key] for key in names}
        constants = {key: value for key, value in given.items() if key.isupper()}
        types = {torch.Tensor: lambda value: TYPES[value.dtype], int: lambda _: "i32", float: lambda _: "fp32"}
        signature = {
            key: "constexpr" if key in constants else types[type(value)](value) for key, value in given.items()
        }
        calls[json.dumps([name, signature, constants])] = [name, signature, constants]
        start(name, grid, *arguments, **options)

    start = gpu_kernels._start
    monkeypatch.setattr(gpu_kernels, "_start", note)
    with as_on_a_gpu(), torch.autocast("cpu", torch.bfloat16):
        first = conv(weight="binary", membrane="2 bits", pool=MaxPool(2))
        second = conv(5, 5, weight="binary", membrane="4 bits soft", skip=PlainSkip())
        inner = first(spikes(2, 3, 3, 8, 8))
        second(inner, inner).sum().backward()
    assert {name for name, _, _ in calls.values()} == {"moments", "forward", "backward", "affine", "pack", "unpack"}
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        input=json.dumps(list(calls.values())),
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("True") == len(calls)
