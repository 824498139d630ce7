"""Watching a torch module run on a test batch: which layers run, in which order, and what each of them gives.

The module may make one time step at a call, all of them in a loop of its own, or all of them at once (SpikingJelly's
multi-step mode). Runs are in float64, on a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bitspike.imports.layers import CannotImport, Seen
from bitspike.imports.torch_modules import is_layer, is_multi_step, is_neuron, layer_of
from bitspike.imports.wiring import Wired, as_chain


@dataclass(frozen=True)
class Event:
    """One call of a layer, or of a function: pooling, told as a layer, or a sum of two tensors (module None).

    reads, makes: the tensors themselves, whose memory tells them apart; given, result: copies of their values then.
    """

    name: str
    module: nn.Module | None
    given: tuple[Tensor, ...]
    result: Tensor
    reads: tuple[Tensor, ...]
    makes: Tensor
    is_function: bool = False


class _NoMatchError(Exception):
    """This way of calling the module is not the one it is made for."""


def watch(module: nn.Module, samples: Tensor, *, steps: int) -> tuple[list[Seen], bool]:
    """The layers of a module in the order in which they run on `samples` [T, B, C, H, W], with what each gives.

    And whether the module returns what the last of them gives, or its sum or mean over time.
    Refuses, by name, modules that are no chain of known layers, with sums of two ways where there are skips.
    """
    twin = _twin(module)
    names = {id(part): name for name, part in twin.named_modules()}
    neurons = [part for part in twin.modules() if is_neuron(part)]
    if not neurons:
        _refuse_unknown(twin)
        raise CannotImport("", "holds no spiking neurons (Leaky, IFNode, LIFNode, ParametricLIFNode)")
    reasons = []
    for text, calls in _ways(twin, samples, steps):
        try:
            events, returned = _run(twin, names, calls)
            layers = _in_order(events, steps=steps, batch=samples.shape[1])
        except _NoMatchError as error:
            reasons.append(f"{text}: {error}")
        else:
            chain = _linked(layers, samples)
            return chain, _returns(chain[-1].result, returned)
    _refuse_unknown(twin)  # a better reason, if there is one
    raise CannotImport(
        type(module).__name__,
        f"did not run {steps} time steps in any way that is known: "
        + "; ".join(reasons)
        + '. Where forward needs "mem" states, give an nn.Sequential of the layers with init_hidden=True; it runs in '
        "float64, so forward must not fix a type, and in eval mode on pixels or counts, so it must not code them",
    )


def _refuse_unknown(twin: nn.Module) -> None:
    """Refuse the first module that is nothing we know, whether or not it runs."""
    inside: set[int] = set()
    for name, part in twin.named_modules():
        if id(part) not in inside and is_layer(part):
            inside |= {id(child) for child in part.modules()}
            if not isinstance(part, nn.AdaptiveAvgPool2d):
                layer_of(name, part)


def _ways(twin: nn.Module, samples: Tensor, steps: int) -> Iterator[tuple[str, list[Tensor]]]:
    """Ways of calling, the likeliest first: (how it is called in words, operands of the calls)."""
    flat = samples.flatten(2)
    static = all(torch.equal(samples[0], step) for step in samples)
    multi = any(is_multi_step(part) for part in twin.modules() if is_neuron(part))
    for given, shape in ((samples, "C, H, W"), (flat, "features")):
        if static:
            yield f"called once with [B, {shape}]", [given[0]]
        if not multi and steps > 1:
            yield f"called {steps} times with [B, {shape}]", list(given)
        yield f"called once with [T, B, {shape}]", [given]
        if not multi and steps == 1:
            yield f"called once with [B, {shape}]", list(given)


def _twin(module: nn.Module) -> nn.Module:
    """A copy in float64 and eval mode. States that hang on a graph, which deepcopy refuses, are copied without it."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in _tensors(vars(part)):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    twin: nn.Module = copy.deepcopy(module, memo).to("cpu", torch.float64)
    return twin.eval()


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values.values():
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _tensors({key: item for key, item in value.items() if not isinstance(item, nn.Module)})


def _reset(twin: nn.Module) -> None:
    """Membranes at rest, as the libraries' own functions do it."""
    for part in twin.modules():
        if not is_neuron(part):
            continue
        for name in ("reset_mem", "reset"):
            function = getattr(part, name, None)
            if callable(function):
                function()
                break


@torch.no_grad()
def _run(twin: nn.Module, names: dict[int, str], calls: list[Tensor]) -> tuple[list[Event], list[list[Tensor]]]:
    """The layers' calls in their order, and the tensors that every call of the module returned."""
    _reset(twin)
    events: list[Event] = []
    returned: list[list[Tensor]] = []
    with _hooks(twin, names, events):
        try:
            for operand in calls:
                returned.append([part.double().clone() for part in _tensors({"": _as_dict(twin(operand.clone()))})])
        except CannotImport:
            raise
        except Exception as error:  # whatever a forward of somebody else's raises for a shape it is not made for
            first = (str(error).splitlines() or [""])[0]
            raise _NoMatchError(f"{type(error).__name__}: {first[:160]}") from None
    return _in_use(events), returned


def _as_dict(value: Any) -> Any:
    """Lists and tuples as dicts, however deep."""
    if isinstance(value, list | tuple):
        return {number: _as_dict(part) for number, part in enumerate(value)}
    return {key: _as_dict(part) for key, part in value.items()} if isinstance(value, dict) else value


def _returns(last: Tensor, returned: list[list[Tensor]]) -> bool:
    """Whether one of the tensors that a module returns, over all its calls, is `last` [T, B, ...] or sums it up."""
    wanted = (last, last.transpose(0, 1), last.sum(0), last.mean(0))
    found = [torch.cat([part.flatten() for part in parts]) for parts in zip(*returned, strict=False)]
    return any(
        one.numel() == other.numel() and torch.allclose(one, other.flatten().to(one))
        for one in found
        for other in wanted
    )


def _reads(later: Event, event: Event) -> bool:
    """Whether a layer was given what another gave, perhaps as a copy or in another shape."""
    if any(_address(read) == _address(event.makes) for read in later.reads):
        return True
    return any(_equal(given, event.result) for given in later.given)


def _equal(one: Tensor, other: Tensor) -> bool:
    """In every value, whatever the shapes."""
    return one.numel() == other.numel() and torch.equal(one.flatten(), other.flatten())


def _in_use(events: list[Event]) -> list[Event]:
    """Without functions that change nothing, or whose result no later one reads: they are not of the chain."""
    kept: list[Event] = []
    for event in reversed(events):
        if event.is_function:
            idle = len(event.given) == 1 and event.given[0].shape == event.result.shape
            same = idle and torch.equal(event.given[0], event.result)
            if same or not any(_reads(later, event) for later in kept):
                continue
        kept.append(event)
    return kept[::-1]


_POOLS: dict[str, tuple[type[nn.Module], tuple[str, ...]]] = {
    "max_pool2d": (nn.MaxPool2d, ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")),
    "avg_pool2d": (
        nn.AvgPool2d,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    "adaptive_avg_pool2d": (nn.AdaptiveAvgPool2d, ("output_size",)),
}
"""Functions of torch.nn.functional that are layers without parameters: the module of each, what they are given."""


_SUMS = ("add", "add_")
"""What `+`, `+=` and the functions behind them are called."""


class _Functions(TorchFunctionMode):
    """Notes pooling that is called as a function, as in `F.max_pool2d(self.conv(x), 2)`, like a layer; and sums.

    within: how many layers are at work, whose own calls are theirs.
    """

    def __init__(self, events: list[Event]) -> None:
        super().__init__()
        self.events = events
        self.within = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, and note it if it pools."""
        named = dict(kwargs or {})
        name = getattr(function, "__name__", "").removeprefix("_").removesuffix("_with_indices")
        if not self.within and name in _SUMS and len(args) == 2 and not named:
            return self._sum(function, *args)
        result = function(*args, **named)
        if self.within or name not in _POOLS:
            return result
        made, order = _POOLS[name]
        value = args[0] if args else named.pop("input")
        options = dict(zip(order, args[1:], strict=False)) | named
        options.pop("return_indices", None)  # who reads them does not read what this gives, and is refused for it
        given = result[0] if isinstance(result, tuple) else result
        if options.get("stride") in ((), []):  # how functions in C say: as the kernel
            options["stride"] = None
        copies = (value.double().clone(),), given.double().clone()
        self.events.append(Event(f"F.{name}", made(**options), *copies, (value,), given, is_function=True))
        return result

    def _sum(self, function: Any, one: Any, other: Any) -> Any:
        both = [value for value in (one, other) if isinstance(value, Tensor)]
        copies = tuple(value.double().clone() for value in both)  # before one of them becomes the sum
        result = function(one, other)
        if len(both) == 2 and both[0].shape == both[1].shape:
            self.events.append(Event("+", None, copies, result.double().clone(), tuple(both), result, is_function=True))
        return result


@contextmanager
def _hooks(twin: nn.Module, names: dict[int, str], events: list[Event]) -> Iterator[None]:
    handles = []
    functions = _Functions(events)

    def enter(part: nn.Module, operands: tuple[Any, ...]) -> None:
        functions.within += 1

    def note(part: nn.Module, operands: tuple[Any, ...], result: Any) -> Any:
        functions.within -= 1
        first = result[0] if isinstance(result, tuple) else result
        given = next((operand for operand in operands if isinstance(operand, Tensor)), None)
        if given is None or not isinstance(first, Tensor):
            raise CannotImport(names[id(part)], "is called with no tensor, or gives none")
        # Surrogates of snnTorch give float32 whatever they get.
        wide = first.double()
        events.append(Event(names[id(part)], part, (given.double().clone(),), wide.clone(), (given,), wide))
        return (wide, *result[1:]) if isinstance(result, tuple) else wide

    inside: set[int] = set()
    for part in twin.modules():
        if id(part) in inside or not is_layer(part):
            continue
        inside |= {id(child) for child in part.modules()}
        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(note)]
    try:
        with functions:
            yield
    finally:
        for handle in handles:
            handle.remove()


def _in_order(events: list[Event], *, steps: int, batch: int) -> list[list[Event]]:
    """For every layer of the chain its events, one per step or a single one for all of them."""
    if not events:
        raise _NoMatchError("no layer of it ran")
    neurons = [event for event in events if event.module is not None and is_neuron(event.module)]
    if not neurons:
        raise _NoMatchError("none of its neurons ran")
    together = neurons[0].given[0].shape[:2] == (steps, batch) and len(neurons) == len({n.name for n in neurons})
    rounds = 1 if together else steps
    for event in neurons:
        shape = event.given[0].shape
        if shape[: 2 if together else 1] != ((steps, batch) if together else (batch,)):
            raise _NoMatchError(f"{event.name} got a tensor of shape {list(shape)}")
    if not _repeats([event.name for event in events if not event.is_function], rounds):
        times = sum(event.name == neurons[0].name for event in neurons)
        raise _NoMatchError(f"{neurons[0].name} ran {times} times, or not all layers ran once in every time step")
    if not _repeats([event.name for event in events], rounds):
        functions = [event.name for event in events if event.is_function]
        name = min(functions, key=lambda name: functions.count(name) % rounds == 0)  # the first that is to blame
        raise CannotImport(name, "does not run once in every time step as the layers do; do it inside the loop")
    each = len(events) // rounds
    modules = [event.name for event in events[:each] if not event.is_function]
    times = modules.count(modules[0])
    if times > 1 and _repeats(modules, times):
        raise CannotImport(
            "",
            f"runs its layers {times} times at a call, and time_steps is {steps}; if these are its steps, give {times}",
        )
    chain = [[events[turn * each + at] for turn in range(rounds)] for at in range(each)]
    names = [event.name for event in neurons[: len(neurons) // rounds]]
    for name in names:
        if names.count(name) > 1:
            raise CannotImport(name, "is used at two places, which share its membrane; give each its own")
    return chain


def _repeats(names: list[str], rounds: int) -> bool:
    """Whether the names are one list so many times."""
    each, left = divmod(len(names), rounds)
    return not left and names == names[:each] * rounds


def _linked(chain: list[list[Event]], samples: Tensor) -> list[Seen]:
    """The layers as a chain, once it is sure what each of them reads."""
    steps, batch = samples.shape[:2]
    made = [_Made("the input", samples, {_address(samples)})]
    nodes: list[Wired] = []
    for events in chain:
        name, module = events[0].name, events[0].module
        layer = None if module is None else layer_of(name, module, events[0].given[0].shape[-2:])
        reads = tuple(
            _maker(name, _steps(name, list(given), steps, batch), {_address(read) for read in read_of}, made)
            for given, read_of in zip(
                zip(*(event.given for event in events), strict=True),
                zip(*(event.reads for event in events), strict=True),
                strict=True,
            )
        )
        result = _steps(name, [event.result for event in events], steps, batch)
        nodes.append(Wired(layer, result, reads))
        made.append(_Made(name, result, {_address(event.makes) for event in events}))
    return as_chain(nodes, len(nodes) - 1)


@dataclass(frozen=True)
class _Made:
    """What a layer gave, or the input: its values, and the memory they were in."""

    owner: str
    values: Tensor
    memory: set[int]


def _maker(name: str, given: Tensor, memory: set[int], made: list[_Made]) -> int:
    """Which of the layers before gave what a layer is given: the last one that did, INPUT for the input."""
    alike = [number for number, item in enumerate(made) if _equal(given, item.values)]
    there = [number for number in alike if memory <= made[number].memory]
    # Values that are all alike prove nothing: then it has to be the same memory, or the only layer before.
    telling = bool((given != given.flatten()[0]).any()) or len(made) == 1
    found = there or (alike if telling else [])
    if not found:
        raise CannotImport(name, _unlinked(made[-1].owner, silent=bool(alike)))
    return found[-1] - 1


def _unlinked(owner: str, *, silent: bool) -> str:
    if silent:
        return (
            f"reads nothing but equal numbers from {owner} on the test batch, so it cannot be told where they come "
            "from; give samples that the network was trained on"
        )
    return (
        f"does not read what {owner} gives: between them is an operation that is no module (a function other than "
        "pooling and sums, a coding of the input, a recurrence). Write functions as modules"
    )


def _address(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()


def _steps(name: str, parts: list[Tensor], steps: int, batch: int) -> Tensor:
    """Values as [T, B, ...]."""
    if len(parts) > 1 or (parts[0].shape[0] == batch and steps == 1):
        value = torch.stack(parts)
    else:
        value = parts[0]
        if value.shape[0] == steps * batch:
            value = value.unflatten(0, (steps, batch))
    if value.shape[:2] != (steps, batch):
        raise CannotImport(name, f"works on a tensor of shape {list(parts[0].shape)}, not time and batch first")
    return value
