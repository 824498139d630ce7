from dataclasses import fields
from statistics import NormalDist

import numpy as np
import pytest
import torch

from _inference.calibrate import calibrated, moved, nearest_offset
from _inference.networks import approach, random_net
from bitspike import lower
from bitspike.integer import run
from networks import EventNet, ImageNet, events, images


def rates_of(graph, samples):
    rates = {}
    layers = {node.name for node in graph.spiking}
    run.advance(
        graph,
        run.frames(graph, torch.from_numpy(samples)),
        run.State(),
        lambda name, value: rates.update({name: float(value.double().mean())} if name in layers else {}),
    )
    return rates


@pytest.fixture(scope="module")
def graph():
    return lower(ImageNet()).graph


SAMPLES = images(batch=64).numpy()


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3])
def test_every_layer_comes_to_its_rate(graph, rate):
    changed, told = calibrated(graph, SAMPLES, rate)
    assert told == rates_of(changed, SAMPLES)
    assert told == {name: pytest.approx(rate, rel=0.05) for name in ("first", "second")}


def test_layers_may_have_rates_of_their_own(graph):
    _, told = calibrated(graph, SAMPLES, {"first": 0.2, "second": 0.07})
    assert told == {"first": pytest.approx(0.2, rel=0.05), "second": pytest.approx(0.07, rel=0.05)}


def test_events_and_counts_are_calibrated_too():
    graph = lower(EventNet("1w2u")).graph
    samples = events(batch=64).numpy()
    changed, told = calibrated(graph, samples, 0.1)
    assert told == rates_of(changed, samples) == {"conv": pytest.approx(0.1, rel=0.05)}


def test_nothing_but_thresholds_changes(graph):
    changed, _ = calibrated(graph, SAMPLES, 0.05)
    for before, after in zip(graph.nodes, changed.nodes, strict=True):
        if before not in graph.spiking:
            assert before == after
            continue
        assert not np.array_equal(before.fire.threshold, after.fire.threshold)
        assert before.fire.threshold.dtype == after.fire.threshold.dtype
        for one, other, aside in ((before, after, "fire"), (before.fire, after.fire, "threshold")):
            for field in fields(one):
                if field.name != aside:
                    assert getattr(one, field.name) is getattr(other, field.name), field.name


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_rates_that_no_layer_can_have_are_refused(graph, rate):
    with pytest.raises(ValueError, match=f"first is to fire at {rate}; allowed: between 0 and 1"):
        calibrated(graph, SAMPLES, rate)


def test_thresholds_move_evenly_in_sum(graph):
    fire = graph.spiking[0].fire
    channels = len(fire.threshold)
    for offset in (-7, -1, 0, 1, channels, 3 * channels + 2):
        gained = (moved(fire, offset).threshold - fire.threshold)[:, 0]
        assert gained.sum() == offset
        assert gained.max() - gained.min() <= 1


def test_thresholds_stay_within_int32(graph):
    fire = graph.spiking[0].fire
    assert moved(fire, 1 << 40).threshold.max() == 2**31 - 1
    assert moved(fire, -(1 << 40)).threshold.min() == -(2**31)


@pytest.mark.parametrize("place", [-1000, -1, 0, 1, 2, 77, 123456])
def test_the_nearest_offset_of_a_falling_function(place):
    assert nearest_offset(lambda offset: 1 / (1 + np.exp(np.clip(offset - place, -50, 50))), 0.5) == place


def test_a_rate_that_cannot_be_reached_ends_the_search_too():
    assert nearest_offset(lambda _: 0.3, 0.1) > 1 << 30
    assert nearest_offset(lambda _: 0.05, 0.1) < -(1 << 30)


@pytest.mark.parametrize("gain", [0.3, 1.0, 4.0])
def test_the_shift_of_betas_finds_a_rate_in_few_steps(gain):
    tried = []

    def rate_at(shift):
        tried.append(shift)
        return NormalDist().cdf(gain * (shift - 1))

    shift = approach(rate_at, 0.1)
    assert rate_at(shift) == pytest.approx(0.1, rel=0.031)
    assert tried[-2] == shift  # what it returns is what the layer was left at
    assert len(tried) <= 6


def test_a_random_network_is_near_its_rate_before_any_threshold_moves():
    samples = torch.randint(0, 256, (16, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    net = random_net("small28", samples, 0.1)
    rates = rates_of(lower(net).graph, samples.numpy())
    assert rates == {name: pytest.approx(0.1, rel=0.1) for name in ("conv1", "conv2")}
    again = random_net("small28", samples, 0.1)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True))


def test_channels_of_a_random_network_differ_in_their_shifts():
    samples = torch.randint(0, 256, (4, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for node in lower(random_net("small28", samples, 0.1)).graph.spiking:
        assert len(set(node.fire.shift.tolist())) > 1
