"""The strongest tests: random networks mean the same in every form, order and batch, and fit their proved bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from torch import Tensor

import oracle
from bitspike import IntegerNet, lower
from bitspike.block import Readout, SpikingBlock, blocks_of, real_form
from bitspike.block.base import watching
from strategies import Plan, RandomNet, plans, samples_of

pytestmark = pytest.mark.filterwarnings("ignore::bitspike.lowering.DeadZoneWarning")


def values_of(net: RandomNet, samples: np.ndarray) -> tuple[Tensor, list[tuple[object, tuple[Tensor, ...], Tensor]]]:
    """The network's result, and (block, operands, result) of every block in order of execution."""
    seen: list[tuple[object, tuple[Tensor, ...], Tensor]] = []
    with watching(lambda block, operands, result: seen.append((block, operands, result))):
        result = net(torch.from_numpy(samples))
    return result, seen


def lowered(net: RandomNet) -> IntegerNet | None:
    """The integer network, or None where it is refused for its size: then with the name of a layer."""
    try:
        return lower(net)
    except ValueError as error:
        names = [name for name, block in blocks_of(net) if isinstance(block, SpikingBlock)]
        assert any(str(error).startswith(f"{name}: ") for name in names), error
        assert "32 bits" in str(error)
        event("refused")
        return None


@settings(max_examples=160)
@given(plans())
def test_every_form_and_order_gives_the_same_integers(plan: Plan) -> None:
    net, samples = RandomNet(plan).eval(), samples_of(plan)
    integer = lowered(net)
    if integer is None:
        return
    record = integer.spikes(samples)
    nodes = list(record)

    with torch.no_grad():
        logits, seen = values_of(net, samples)
        with real_form(net):
            _, real = values_of(net, samples)
    assert [block.label for block, _, _ in seen] == nodes
    for name, (block, _, ours), (_, _, exact) in zip(nodes, seen, real, strict=True):
        if isinstance(block, Readout):
            continue
        assert np.array_equal(ours.numpy(), record[name]), f"eval differs from lower at {name}"
        assert np.array_equal(exact.numpy(), record[name]), f"the real form differs at {name}"

    answer = integer.predict(samples)
    unit = integer.graph.readout.unit
    assert logits.dtype == torch.float64
    units = logits.sum(0).numpy() / (unit * plan.time_steps)
    assert np.array_equal(np.rint(units).astype(np.int64), answer)
    assert np.abs(units - answer).max() < 1e-6
    assert np.array_equal(logits.mean(0).argmax(-1).numpy(), answer.argmax(1))

    twin = oracle.interpret(integer.graph, samples)
    for name in nodes:
        assert np.array_equal(twin.values[name], record[name]), f"the reference differs from int64 at {name}"
    assert np.array_equal(twin.logits, answer)
    proved = oracle.bounds(integer.graph)
    for node in integer.graph.spiking:
        assert twin.largest[node.name] <= oracle.INT32
        full = proved[node.name] + ((node.fire.levels + 1) << node.fire.g) + proved[node.name] + (1 << node.fire.g)
        assert full <= oracle.INT32, f"{node.name} was not refused"
        trailing = np.bitwise_or.reduce(node.fire.threshold.reshape(-1)) | (1 << 30)
        step = int(trailing & -trailing)  # of fixed point: what divides all thresholds
        assert np.abs(node.fire.threshold.astype(np.int64)).max() < proved[node.name] + 1 + step


@settings(max_examples=60)
@given(plans())
def test_step_by_step_and_batches_change_nothing(plan: Plan) -> None:
    net, samples = RandomNet(plan).eval(), samples_of(plan, 4)
    integer = lowered(net)
    if integer is None:
        return
    answer = integer.predict(samples)
    state = integer.state()
    for t in range(plan.time_steps):
        so_far = integer.step(samples[t] if plan.events else samples, state)
    assert np.array_equal(so_far, answer)
    assert state.steps == plan.time_steps

    axis = 1 if plan.events else 0
    order = np.array([2, 0, 3])
    shuffled = np.take(samples, order, axis)
    assert np.array_equal(integer.predict(shuffled), answer[order])
    alone = np.take(samples, [3], axis)
    assert np.array_equal(integer.predict(alone)[0], answer[3])
    with torch.no_grad():
        together, single = net(torch.from_numpy(samples)), net(torch.from_numpy(alone))
    assert torch.equal(together[:, 3:], single)
    none = np.take(samples, [], axis)
    assert integer.predict(none).shape == (0, 4)
    assert net(torch.from_numpy(none)).shape == (plan.time_steps, 0, 4)


@settings(max_examples=80)
@given(plans())
def test_spikes_are_those_of_the_real_valued_network(plan: Plan) -> None:
    """Batch norm as batch norm, membranes as real numbers: an independent float64 network, layer by layer.

    Its thresholds are exact, so none in fixed point.
    """
    exact = [replace(layer, membrane=replace(layer.membrane, threshold_bits=32)) for layer in plan.specs]
    plan = replace(plan, specs=tuple(exact))
    net, samples = RandomNet(plan).eval(), samples_of(plan)
    if lowered(net) is None:
        return
    with torch.no_grad():
        _, seen = values_of(net, samples)
    for block, operands, result in seen:
        if not isinstance(block, SpikingBlock):
            continue
        value, skip = operands[0].numpy(), operands[1].numpy() if len(operands) > 1 else None
        real = oracle.real_layer(block, value, skip)
        ours = result.numpy()
        assert np.array_equal(ours[real.decided], real.spikes[real.decided]), block.label
        event(f"decided more than half: {real.decided.mean() > 0.5}")


@settings(max_examples=40)
@given(plans())
def test_eval_ignores_autocast_memory_layout_and_train_history(plan: Plan) -> None:
    net, samples = RandomNet(plan).eval(), torch.from_numpy(samples_of(plan))
    if lowered(net) is None:
        return
    before = {name: value.clone() for name, value in net.state_dict().items()}
    plain = net(samples)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(net(samples), plain)
    spread = samples.transpose(-1, -2).contiguous().transpose(-1, -2)
    assert torch.equal(net(spread), plain)
    assert torch.equal(net.train().eval()(samples), plain)
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
