import torch

from bitspike.quant import round_half_up, straight_through


def test_halves_go_up_on_both_sides():
    values = torch.tensor([-2.5, -1.5, -0.5, -0.49, 0.49, 0.5, 1.5, 2.5])
    assert round_half_up(values).tolist() == [-2.0, -1.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    assert torch.round(values).tolist() != round_half_up(values).tolist()


def test_straight_through_has_the_value_to_the_last_bit():
    generator = torch.Generator().manual_seed(0)
    value = torch.randint(-127, 128, (20_000,), generator=generator).float()
    carrier = (torch.randn(20_000, generator=generator) * 200).requires_grad_()
    got = straight_through(value, carrier)
    assert torch.equal(got, value)
    (got * 3).sum().backward()
    assert torch.equal(carrier.grad, torch.full_like(value, 3.0))
    assert not torch.equal(carrier + (value - carrier).detach(), value)  # the usual formula rounds


def test_straight_through_gives_its_value_no_gradient():
    value, carrier = torch.ones(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    straight_through(value, carrier).sum().backward()
    assert value.grad is None
    assert carrier.grad.tolist() == [1.0, 1.0, 1.0]
