"""What all blocks share: the state a network is in, and being seen by lowering.

Values between blocks are float tensors that hold integers: pixels minus their zero point, spikes, counts. So a
network of blocks is an ordinary torch module in every state.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from enum import Enum

import torch
from torch import Tensor, nn


class Form(Enum):
    """What a block computes."""

    TRAINING = "training"  # float, batch statistics, straight-through gradients
    REAL = "real"  # float64, running statistics, the integer form's exact twin, differentiable
    INTEGER = "integer"  # integers only: what ships
    FLOAT = "float"  # running statistics, where 32 bits or a dynamic membrane have no integer form


Note = Callable[["Block", tuple[Tensor, ...], Tensor], None]
_WATCHER: ContextVar[Note | None] = ContextVar("bitspike_watcher", default=None)


class Block(nn.Module):
    """A part of a network that has an integer form.

    label: the name that errors and reports use, set by `bitspike.quantize_` and by lowering.
    """

    def __init__(self) -> None:
        super().__init__()
        self.label = type(self).__name__
        self.in_real_form = False

    @property
    def has_integer_form(self) -> bool:
        """Whether every choice of this block can be carried by integers."""
        return True

    @property
    def form(self) -> Form:
        """What the block computes now."""
        if self.training and not self.in_real_form:
            return Form.TRAINING
        if not self.has_integer_form:
            return Form.FLOAT
        return Form.REAL if self.in_real_form else Form.INTEGER

    @property
    def draws_afresh(self) -> bool:
        """Whether stochastic rounding of weights draws new noise: at training steps, not where statistics are taken."""
        return self.form is Form.TRAINING and torch.is_grad_enabled()

    def forward(self, *operands: Tensor) -> Tensor:
        """Compute, and let a tracer see it."""
        result = self.compute(*operands)
        watcher = _WATCHER.get()
        if watcher is not None:
            watcher(self, operands, result)
        return result

    def compute(self, *operands: Tensor) -> Tensor:
        """The block's own work in its present form."""
        raise TypeError(f"{type(self).__name__} does not say what it computes; a block overrides `compute`")


def is_watched() -> bool:
    """Whether somebody wants to see every block that runs."""
    return _WATCHER.get() is not None


@contextlib.contextmanager
def watching(note: Note) -> Iterator[None]:
    """Call `note(block, operands, result)` for every block that runs inside."""
    token = _WATCHER.set(note)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@contextlib.contextmanager
def in_mode(net: nn.Module, *, training: bool) -> Iterator[None]:
    """Put a network into train or eval mode inside; every module's own mode comes back, frozen parts included."""
    before = [(module, module.training) for module in net.modules()]
    net.train(training)
    try:
        yield
    finally:
        for module, was in before:
            module.training = was


@contextlib.contextmanager
def real_form(net: nn.Module) -> Iterator[nn.Module]:
    """Run the blocks of a network in their real form: running statistics, quantizers on, differentiable.

    For saliency, calibration, fine-tuning with frozen statistics. Its spikes are the integer form's, all of them.
    """
    blocks = [module for module in net.modules() if isinstance(module, Block)]
    before = [block.in_real_form for block in blocks]
    try:
        for block in blocks:
            block.in_real_form = True
        yield net
    finally:
        for block, was in zip(blocks, before, strict=True):
            block.in_real_form = was


def blocks_of(net: nn.Module) -> list[tuple[str, Block]]:
    """All blocks with their names, in order of definition; their labels are set on the way."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"a network is a torch module built from blocks, not {type(net).__name__}")
    found = [(name, module) for name, module in net.named_modules() if isinstance(module, Block)]
    for name, block in found:
        block.label = name or type(block).__name__
    return found


def integers(value: Tensor, owner: str) -> Tensor:
    """A value between blocks as int32; refused where it is not whole numbers."""
    once = value[:1] if value.shape[0] > 1 and value.stride(0) == 0 else value
    whole = once.to(torch.int32)
    if not torch.equal(whole.to(once.dtype), once):
        raise ValueError(
            f"{owner}: its input is not whole numbers; between the blocks of a network only blocks may change values"
        )
    return whole.expand(value.shape)


def count(owner: str, **sizes: int) -> None:
    """Refuse numbers of channels, features and the like that are not whole and positive."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise ValueError(f"{owner}: {name} is {size!r}; it must be a whole number, 1 or more")


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """An int or a pair as a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))
