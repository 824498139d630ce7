from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitspike.neuron import lif, lif_step, spike, surrogate
from bitspike.spec import MembraneSpec
from strategies import membrane_specs


def run(current, spec, step=None):
    potential = torch.zeros_like(current[0])
    spikes, stored = [], []
    for now in current:
        fired, potential = lif_step(now, potential, spec, step)
        spikes.append(fired)
        stored.append(potential)
    return torch.stack(spikes), torch.stack(stored)


def test_hard_and_soft_reset_by_hand():
    current = torch.tensor([[0.5], [0.75], [1.5], [0.25]])
    spikes, stored = run(current, MembraneSpec())  # h: .5, 1.0 fires at the threshold, 1.5, .25
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert stored.flatten().tolist() == [0.5, 0.0, 0.0, 0.25]
    spikes, stored = run(current, MembraneSpec(reset="soft"))  # h: .5, 1.0 -> 0, 1.5 -> .5, .5
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert stored.flatten().tolist() == [0.5, 0.0, 0.5, 0.5]


def test_a_strict_neuron_is_silent_at_its_threshold():
    current = torch.tensor([[1.0], [0.75], [1.5], [0.25]])
    spikes, stored = run(current, MembraneSpec(strict=True))  # h: 1.0 does not fire, 1.25, 1.5, .25
    assert spikes.flatten().tolist() == [0, 1, 1, 0]
    assert stored.flatten().tolist() == [1.0, 0.0, 0.0, 0.25]


def test_a_reset_behind_the_leak_subtracts_more_before_it():
    spec = MembraneSpec(reset="soft", leak=Fraction(1, 2), threshold=1.0, subtract=2.0, strict=True)
    current = torch.randint(-8, 12, (9, 50)) / 8.0
    potential, reset, expected = torch.zeros(50), torch.zeros(50), []
    for now in current:  # as snnTorch writes it
        potential = 0.5 * potential + now - reset * 1.0
        reset = (potential > 1.0).float()
        expected.append(reset)
    assert torch.equal(run(current, spec)[0], torch.stack(expected))
    kept = run(current, MembraneSpec(reset="soft", subtract=0.0))[1]  # no reset at all
    assert torch.equal(kept[-1], run(current, MembraneSpec(reset="soft", threshold=1e9))[1][-1])


def test_the_spike_sees_the_full_sum_not_the_stored_one():
    spec = MembraneSpec(bits=2, leak=Fraction(1))
    spikes, stored = run(torch.tensor([[0.5], [0.4]]), spec, torch.tensor(1.0))
    assert stored.flatten().tolist() == [1.0, 0.0]  # 0.5 is stored as 1
    assert spikes.flatten().tolist() == [0, 1]  # 1.4 fires; 0.4 alone, or 0.9, would not


def test_surrogate_triangle():
    excess = torch.tensor([-1.5, -1.0, -0.25, 0.0, 0.5, 1.0], requires_grad=True)
    fired = spike(excess)
    assert fired.tolist() == [0, 0, 0, 1, 1, 1]
    fired.sum().backward()
    assert excess.grad.tolist() == [0.0, 0.0, 0.75, 1.0, 0.5, 0.0]
    assert surrogate(torch.tensor([-0.25])).tolist() == [0.75]


def test_a_given_decision_wins_over_the_excess():
    assert spike(torch.tensor([0.2, -0.2]), torch.tensor([False, True])).tolist() == [0.0, 1.0]


@settings(max_examples=60)
@given(
    membrane_specs(), st.integers(0, 2**31 - 1), st.integers(1, 4), st.sampled_from([(3, 2, 2), (5,)]), st.booleans()
)
def test_the_fused_form_equals_the_steps(spec, seed, time, shape, stored):
    """Spikes to the last bit; gradients within float32."""
    spec = replace(spec, rounding="nearest" if spec.rounding == "stochastic" else spec.rounding)
    torch.manual_seed(seed)
    current = torch.randint(-8, 12, (time, 3, *shape)) / 8.0
    step = torch.tensor(0.25).expand(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)) if stored else None
    weight = torch.randn_like(current)
    slow, fast = current.clone().requires_grad_(), current.clone().requires_grad_()
    expected, got = run(slow, spec, step)[0], lif(fast, spec, step)
    assert torch.equal(got, expected)
    (expected * weight).sum().backward()
    (got * weight).sum().backward()
    assert torch.allclose(fast.grad, slow.grad, atol=1e-5, rtol=1e-5)


def test_a_static_current_and_chunks_give_the_same(monkeypatch):
    torch.manual_seed(3)
    once = torch.randn(7, 4, 3, 3).contiguous(memory_format=torch.channels_last)
    spec, step = MembraneSpec(bits=3), torch.full((4, 1, 1), 0.3)
    whole = lif(once.expand(3, *once.shape).contiguous(), spec, step)
    assert 0 < float(whole.mean()) < 1
    assert torch.equal(lif(once.expand(3, *once.shape), spec, step), whole)
    monkeypatch.setattr("bitspike.neuron._CHUNK", 40)
    assert torch.equal(lif(once.expand(3, *once.shape), spec, step), whole)


def test_gradient_of_a_static_current_sums_over_time():
    torch.manual_seed(4)
    once = torch.randn(2, 3, requires_grad=True)
    repeated = once.detach().repeat(4, 1, 1).requires_grad_()
    spec = MembraneSpec(bits=4, reset="soft")
    step = torch.tensor(0.2)
    lif(once.expand(4, 2, 3), spec, step).sum().backward()
    lif(repeated, spec, step).sum().backward()
    assert torch.allclose(once.grad, repeated.grad.sum(0))


def test_stochastic_and_dynamic_forms_run_step_by_step():
    torch.manual_seed(0)
    current = torch.randn(3, 2, 5, requires_grad=True)
    for spec in (MembraneSpec(bits=4, rounding="stochastic"), MembraneSpec(bits=4, form="dynamic")):
        current.grad = None
        spikes = lif(current, spec, torch.tensor(0.2))
        assert set(spikes.unique().tolist()) <= {0.0, 1.0}
        spikes.sum().backward()
        assert float(current.grad.abs().sum()) > 0
    dynamic = MembraneSpec(bits=4, form="dynamic")
    assert torch.equal(lif(current, dynamic), run(current, dynamic)[0])


@pytest.mark.parametrize("batch", [0, 1])
def test_small_batches(batch):
    assert lif(torch.ones(2, batch, 3), MembraneSpec(), None).tolist() == [[[1.0] * 3] * batch] * 2
