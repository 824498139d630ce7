import gc
import weakref

import numpy as np
import pytest
import torch
from torch import nn

from bitspike import lower, quantize_
from bitspike.block import EventInput, Flatten, ImageInput, MaxPool, Readout, SpikingConv2d, SpikingLinear, real_form
from bitspike.block.base import watching
from bitspike.data import Dataset
from bitspike.drawing import drawn_batches
from bitspike.prune import ChannelScores, channel_scores, criteria, singular_value_scores
from networks import EventNet, ImageNet, events, images, settle_


def data(samples=24, seed=0):
    return Dataset("made", "train", images(samples, seed).numpy(), np.arange(samples) % 4, 4, mean=(0.4, 0.6), std=0.25)


def same(one, other, tolerance=0.0):
    assert one.keys() == other.keys()
    for name, scores in one.items():
        assert torch.allclose(scores.primary, other[name].primary, rtol=tolerance, atol=0)
        assert (scores.tie is None) == (other[name].tie is None)
        if scores.tie is not None:
            assert torch.allclose(scores.tie, other[name].tie, rtol=tolerance, atol=0)


class Layers(nn.Module):
    """A convolution that pools itself, a linear spiking layer, a readout."""

    def __init__(self, spec="4w4u"):
        super().__init__()
        self.input = ImageInput((2, 6, 6), mean=(0.4, 0.6), std=0.25, time_steps=3)
        self.conv = SpikingConv2d(2, 4, input_scale=self.input.scale, pool=MaxPool(2))
        self.flatten = Flatten()
        self.linear = SpikingLinear(36, 7)
        self.readout = Readout(7, 4)
        self.calls = 0
        settle_(self)
        if spec is not None:
            quantize_(self, spec)

    def forward(self, samples):
        self.calls += 1
        return self.readout(self.linear(self.flatten(self.conv(self.input(samples)))))


def test_order_is_by_score_then_tie_then_the_lower_number_stays():
    scores = ChannelScores(torch.tensor([2.0, 1, 2, 1, 2]).double(), torch.tensor([5.0, 9, 4, 9, 5]).double())
    assert scores.order().tolist() == [3, 1, 2, 4, 0]
    assert scores.lowest(3).tolist() == [3, 1, 2]
    assert scores.lowest(0).tolist() == []
    assert ChannelScores(torch.zeros(3).double()).order().tolist() == [2, 1, 0]
    for wrong in (6, -1, 1.0, True):
        with pytest.raises(ValueError, match="whole number from 0 to 5"):
            scores.lowest(wrong)
    with pytest.raises(ValueError, match=r"\[2\] and \[3\]"):
        ChannelScores(torch.zeros(2), torch.zeros(3))


def test_ties_that_differ_by_rounding_alone_are_equal():
    columns = torch.tensor([[1, 2.0], [1, 2 + 1e-13], [1, 2 + 1e-6]], dtype=torch.float64)
    assert ChannelScores.of(columns).order().tolist() == [1, 0, 2]


def test_svs_scores_the_integer_spikes_of_every_layer_before_its_pool():
    net, made = Layers(), data()
    scores = channel_scores(net, made, batches=3, batch=8)
    assert list(scores) == ["conv", "linear"]
    assert [len(layer) for layer in scores.values()] == [4, 7]
    spikes = lower(net).spikes(made.inputs)
    for name, layer in scores.items():
        expected = singular_value_scores(torch.from_numpy(spikes[name]).float()).mean(0)
        assert torch.allclose(layer.primary, expected[:, 0])
        assert torch.allclose(layer.tie, expected[:, 1])
        assert layer.primary.dtype == torch.float64
    assert scores["conv"].primary.max() > 3  # more than a pooled map of 3x3 could have
    assert len(set(scores["linear"].primary.tolist())) > 1


@pytest.mark.parametrize("criterion", ["svs", "sca"])
def test_integer_form_and_real_form_agree(criterion):
    net = ImageNet("4w4u")
    ours = channel_scores(net, data(), criterion=criterion, batches=2, batch=8)
    with real_form(net):
        same(ours, channel_scores(net, data(), criterion=criterion, batches=2, batch=8))


def test_sca_of_a_fine_grid_is_that_of_the_float_network():
    fine, plain = EventNet("8w8u"), EventNet("8w8u")
    plain.conv.membrane_spec = type(plain.conv.membrane_spec)()  # 32 bits
    assert not plain.conv.has_integer_form
    counts = events(3, 16).transpose(0, 1).contiguous().numpy()
    made = Dataset("made", "train", counts, np.arange(16) % 3, 3, bound=3)
    ours, theirs = (channel_scores(net, made, criterion="sca", batches=2, batch=8) for net in (fine, plain))
    same(ours, theirs, tolerance=0.05)
    assert len({round(score, 3) for score in ours["conv"].primary.tolist()}) == 4


@pytest.mark.parametrize("spec", ["1w2u", None])
@pytest.mark.parametrize("criterion", ["svs", "sca"])
def test_the_split_into_batches_does_not_matter(criterion, spec):
    net = Layers(spec)
    whole = channel_scores(net, data(), criterion=criterion, batches=1, batch=12)
    same(whole, channel_scores(net, data(), criterion=criterion, batches=4, batch=3), tolerance=1e-6)
    same(whole, channel_scores(net, data(), criterion=criterion, batches=1, batch=12))


def test_samples_are_drawn_from_the_seed_and_none_twice():
    made = data(24)
    drawn = [part.numpy() for part in drawn_batches(made, 3, 8, seed=1)]
    assert [part.shape for part in drawn] == [(8, 2, 6, 6)] * 3
    assert {part.tobytes() for part in np.concatenate(drawn)} == {part.tobytes() for part in made.inputs}
    again = list(drawn_batches(made, 3, 8, seed=1))
    other = list(drawn_batches(made, 3, 8, seed=2))
    assert all(np.array_equal(one, two.numpy()) for one, two in zip(drawn, again, strict=True))
    assert not np.array_equal(drawn[0], other[0].numpy())
    one, two = (channel_scores(ImageNet(), made, batches=1, batch=4, seed=seed) for seed in (1, 2))
    assert any(not torch.equal(one[name].tie, two[name].tie) for name in one)


def test_global_random_numbers_stay_as_they_are_and_do_not_matter():
    net = EventNet("8w8u")
    net.conv.membrane_spec = type(net.conv.membrane_spec)(bits=3, rounding="stochastic")
    net.conv.weight_spec = type(net.conv.weight_spec)()  # float weights: noise comes from torch's generator
    assert not net.conv.has_integer_form
    counts = events(3, 8).transpose(0, 1).contiguous().numpy()
    made = Dataset("made", "train", counts, np.arange(8) % 3, 3, bound=3)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = channel_scores(net, made, batches=2, batch=4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    same(one, channel_scores(net, made, batches=2, batch=4))


def test_a_layer_that_runs_twice_gets_the_mean_of_both_runs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.input = EventInput((2, 4, 4), bound=3, time_steps=3)
            self.conv = SpikingConv2d(2, 2)
            self.flatten = Flatten()
            self.readout = Readout(32, 3)
            settle_(self)
            quantize_(self, "4w4u")

        def forward(self, value):
            return self.readout(self.flatten(self.conv(self.conv(self.input(value)))))

    counts = events(3, 8).transpose(0, 1).contiguous().numpy()
    net = Twice()
    scores = channel_scores(net, Dataset("made", "train", counts, np.arange(8) % 3, 3, bound=3), batches=1, batch=8)
    maps = []
    with watching(lambda block, _, result: maps.append(result) if block is net.conv else None):
        net.eval()(torch.from_numpy(counts).transpose(0, 1))
    expected = torch.stack([singular_value_scores(one).mean(0) for one in maps]).mean(0)
    assert len(maps) == 2
    assert torch.allclose(scores["conv"].primary, expected[:, 0])


def test_one_pass_for_all_layers_and_the_state_comes_back():
    net = Layers().train()
    net.linear.eval()
    channel_scores(net, data(), batches=3, batch=8)
    assert net.calls == 3
    assert (net.training, net.conv.training, net.linear.training) == (True, True, False)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_no_map_outlives_its_batch(monkeypatch):
    alive = []

    def seen(run):
        gc.collect()
        alive.append(sum(one() is not None for one in maps))
        maps.append(weakref.ref(run.spikes))
        return singular_value_scores(run.spikes)

    maps = []
    monkeypatch.setitem(criteria._CRITERIA, "svs", criteria.Criterion(of_run=seen))
    scores = channel_scores(ImageNet(), data(), batches=3, batch=8)
    gc.collect()
    assert scores
    assert len(maps) == 6
    assert max(alive) <= 1  # the first layer's spikes, which the second one reads
    assert alive[2] == alive[4] == 0
    assert all(one() is None for one in maps)


def test_criteria_without_samples_run_nothing():
    net = Layers()
    drawn, again = (channel_scores(net, None, criterion="random", seed=3) for _ in range(2))
    other = channel_scores(net, None, criterion="random", seed=4)
    same(drawn, again)
    assert not torch.equal(drawn["conv"].primary, other["conv"].primary)
    magnitude = channel_scores(net, None, criterion="magnitude")
    main = net.conv.quantized().main
    assert torch.allclose(magnitude["conv"].primary, main.codes.double().abs().flatten(1).sum(1) * main.scale.double())
    assert net.calls == 0
    # A layer's random scores do not depend on which other layers there are.
    alone = nn.ModuleDict({"linear": SpikingLinear(5, 7)})
    assert torch.equal(
        channel_scores(alone, None, criterion="random", seed=3)["linear"].primary, drawn["linear"].primary
    )
    with pytest.raises(TypeError, match="data is None"):
        channel_scores(net, None)


def test_what_does_not_fit_is_refused():
    net = ImageNet()
    wrong = Dataset("wide", "train", np.zeros((9, 2, 6, 7), np.uint8), np.zeros(9, np.int64), 4, mean=(0.4, 0.6))
    with pytest.raises(ValueError, match=r"samples of shape 2x6x7 \(C, H, W\), the network takes 2x6x6"):
        channel_scores(net, wrong, batches=1, batch=2)
    with pytest.raises(ValueError, match="has 24 samples, but 5 batches of 128 need 640"):
        channel_scores(net, data())
    with pytest.raises(ValueError, match="batches is 0"):
        channel_scores(net, data(), batches=0)
    with pytest.raises(TypeError, match="of type Tensor"):
        channel_scores(net, images())
    with pytest.raises(ValueError, match="did you mean 'sca'"):
        channel_scores(net, data(), criterion="scaa")
    for epsilon in (0, -1.0, float("nan"), "1e-6"):
        with pytest.raises(ValueError, match="finite number above 0"):
            channel_scores(net, data(), batches=1, batch=4, epsilon=epsilon)
    with pytest.raises(ValueError, match="has no spiking layer"):
        channel_scores(nn.Sequential(Readout(4, 2)), data(), batches=1, batch=2)
    with pytest.raises(TypeError, match="torch module"):
        channel_scores("net", data())


def test_weights_that_are_not_numbers_are_refused_with_the_layer():
    net = Layers(None)
    with torch.no_grad():
        net.linear.weight[3, 2] = float("nan")
    with pytest.raises(ValueError, match="linear has scores that are not finite"):
        channel_scores(net, None, criterion="magnitude")
    with pytest.raises(ValueError, match="linear has scores that are not finite"):
        channel_scores(net, data(), criterion="sca", batches=1, batch=4)
