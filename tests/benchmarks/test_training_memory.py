import pytest
import torch
from torch import nn

from _training import served
from _training.cases import Case
from _training.memory import as_memory_table, memory_by_steps, memory_entry
from _training.served import firing_rate, growth, saved_bytes


def test_saved_storages_are_counted_once_and_parameters_not_at_all():
    weight = torch.ones(10, 10, requires_grad=True)
    x = torch.ones(100, 10, requires_grad=True)  # kept for the weight's gradient: 4,000 bytes

    def forward():
        y = x @ weight
        return (y * y[:50].repeat(2, 1)).sum()  # y: 4,000; the repeated half: 4,000

    assert saved_bytes(forward, [weight]) == 12_000
    assert saved_bytes(forward, []) == 12_400


def test_what_is_dropped_before_the_end_is_not_kept():
    weight = torch.ones(1000, requires_grad=True)

    def forward():
        for _ in range(5):
            (weight * 2).exp()  # saves its result, which nobody uses
        return (weight * 3).sum()

    assert saved_bytes(forward, [weight]) == 0


def test_counting_leaves_nothing_behind_and_gradients_as_they_are():
    net = nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 1))
    x = torch.randn(3, 4)
    found = []

    def forward():
        found.append(net(x).sum())
        return found[0]

    assert saved_bytes(forward, net.parameters()) > 0
    found[0].backward()
    counted = net[0].weight.grad.clone()
    net.zero_grad()
    net(x).sum().backward()
    assert torch.equal(counted, net[0].weight.grad)


def test_growth_is_the_highest_size_above_the_size_before():
    def work():
        torch.ones(20_000_000)  # 80 MB, freed again

    found = growth(work)
    if found is not None:  # not every system tells
        assert 60e6 < found < 200e6


def test_a_peak_from_before_is_not_taken_for_growth(monkeypatch):
    sizes = iter([{"resident": 50, "highest": 90}, {"resident": 60, "highest": 90}])
    monkeypatch.setattr(served, "memory", lambda: next(sizes))
    assert growth(lambda: None) is None
    sizes = iter([{"resident": None, "highest": 90}, {"resident": None, "highest": 120}])
    assert growth(lambda: None) is None
    sizes = iter([{"resident": 50, "highest": 90}, {"resident": 60, "highest": 120}])
    assert growth(lambda: None) == 70


def test_the_firing_rate_is_the_mean_over_calls_of_neurons():
    net = nn.Sequential(nn.ReLU(), nn.Identity(), nn.ReLU())
    values = torch.tensor([0.0, 1.0, 0.0, 0.0])
    assert firing_rate(net, nn.ReLU, lambda: net(values)) == 0.25
    assert not net[0]._forward_hooks


class FakeWorker:
    def __init__(self, case):
        self.info = {"saved": 1_000_000 * case.time_steps, "resident": None if case.time_steps == 8 else 5_000_000}
        self.closed = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True


def test_memory_is_measured_at_every_t_but_the_known_one():
    case = Case("net", 2, 4, "small8", (1, 8, 8))
    started = []

    def start(case):
        started.append(FakeWorker(case))
        return started[-1]

    known = [memory_entry(case, name, FakeWorker(case)) for name in ("ours", "theirs", "absent")]
    participants = {"ours": start, "theirs": start, "absent": lambda case: None}
    entries = memory_by_steps(known[:2], case, participants, (2, 4, 8), lambda _: None)
    assert [(entry["participant"], entry["T"]) for entry in entries] == [
        *(("ours", steps) for steps in (2, 4, 8)),
        *(("theirs", steps) for steps in (2, 4, 8)),
    ]
    assert entries[1] == {
        "case": "net B=4", "participant": "ours", "T": 4, "saved_bytes": 4_000_000, "resident_bytes": 5_000_000,
    }  # fmt: skip
    assert len(started) == 4
    assert all(worker.closed for worker in started)


def test_the_table_has_a_column_for_every_t():
    entries = [
        {"case": "a", "participant": "ours", "T": 2, "saved_bytes": 2e6, "resident_bytes": 30e6},
        {"case": "a", "participant": "ours", "T": 16, "saved_bytes": 16e6, "resident_bytes": None},
        {"case": "b", "participant": "theirs", "T": 16, "saved_bytes": 90e6, "resident_bytes": 100e6},
    ]
    head, first, second = as_memory_table(entries).splitlines()
    assert head.split() == ["saved", "/", "resident", "MB", "T=2", "T=16"]
    assert first.split() == ["a", "ours", "2", "/", "30", "16", "/", "?"]
    assert second.split() == ["b", "theirs", "90", "/", "100"]
    assert len(head) == len(second)


def test_no_memory_is_measured_where_no_t_is_asked_for():
    case = Case("net", 2, 4, "small8", (1, 8, 8))
    assert memory_by_steps([], case, {"ours": lambda _: pytest.fail("started")}, (2,), lambda _: None) == []
