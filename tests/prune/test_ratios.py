"""How many channels stay, from ratios by name."""

import pytest

from bitspike import create_model
from bitspike.cost import kept_channels
from bitspike.prune import channel_counts, prunable_channels
from bitspike.prune.ratios import channel_order, keep_lists


@pytest.fixture(scope="module")
def net():
    return create_model("resnet20", input_shape=(3, 8, 8), first=10, widths=(10, 20, 30))


def test_every_spiking_block_can_lose_channels(net):
    channels = prunable_channels(net)
    assert len(channels) == 19
    assert (channels["first"], channels["stage2.1.first"], channels["stage3.2.second"]) == (10, 20, 30)
    assert "readout" not in channels


def test_the_first_pattern_that_matches_wins_and_the_rest_stays(net):
    counts = channel_counts(net, {"stage1.0.*": 0.3, "stage?.*.first": 0.75}, protect=["stage3.*"])
    assert counts["first"] == 10
    assert (counts["stage1.0.first"], counts["stage1.0.second"]) == (7, 7)
    assert (counts["stage1.1.first"], counts["stage1.1.second"]) == (2, 10)
    assert counts["stage2.0.first"] == 5
    assert counts["stage3.0.first"] == 30
    assert list(counts) == list(prunable_channels(net))
    assert channel_counts(net, {"*": 0.0}, protect="first") == prunable_channels(net)


def test_what_stays_is_rounded_up_to_a_multiple(net):
    counts = channel_counts(net, {"first": 0.8, "stage3.*": 0.5}, protect=["stage3.2.*"], multiple_of=8)
    assert counts["first"] == 8  # 2 stay
    assert counts["stage3.0.first"] == counts["stage3.1.second"] == 16  # 15 stay
    assert counts["stage3.2.first"] == 30
    assert channel_counts(net, {"*": 0.5}, multiple_of=20)["stage1.0.first"] == 10  # no multiple of 20 is in 10
    with pytest.raises(ValueError, match="in multiples of 64 no layer would lose a channel"):
        channel_counts(net, {"*": 0.5}, multiple_of=64)
    with pytest.raises(ValueError, match="multiple_of is 0; give a whole number"):
        channel_counts(net, {"*": 0.5}, multiple_of=0)


@pytest.mark.parametrize("channels", [1, 3, 7, 10, 64, 100, 128, 512])
def test_kept_is_the_floor_of_what_decimals_say(channels):
    for hundredths in range(100):
        for ratio in (hundredths / 100, 1 - (100 - hundredths) / 100):
            assert kept_channels(channels, ratio) == channels * (100 - hundredths) // 100
    for kept in range(1, channels + 1):
        assert kept_channels(channels, 1 - kept / channels) == kept


@pytest.mark.parametrize(
    ("ratios", "protect", "message"),
    [
        ({"stage4.*": 0.5}, (), r"ratios: 'stage4\.\*' matches no spiking block; they are first, stage1"),
        ({"*": 0.5}, ["readout"], "protect: 'readout' matches no spiking block"),
        ({"first": 0.95}, (), r"would leave none of the 10 channels of first; give at most 0\.9"),
        ({"first": 1.0}, (), r"ratios\['first'\] is 1\.0; allowed: a share"),
        ({"first": -0.1}, (), "allowed: a share"),
        ({"first": float("nan")}, (), "allowed: a share"),
        ({"first": "half"}, (), "is 'half'; allowed: a share"),
        ({"*": 0.5, "first": 0.1}, (), "ratios: 'first' decides nothing, .* put it in front of them"),
    ],
)
def test_refused(net, ratios, protect, message):
    with pytest.raises(ValueError, match=message):
        channel_counts(net, ratios, protect=protect)


def test_the_most_important_channels_stay():
    orders = {"a": [3, 0, 2, 1], "b": [0, 1]}
    assert keep_lists({"a": 4, "b": 2}, orders, {"a": 3, "b": 2}) == {"a": [0, 1, 2]}
    with pytest.raises(ValueError, match="c is to lose channels, but no order"):
        keep_lists({"c": 4}, orders, {"c": 3})
    for wrong in ([0, 1, 1], [0, 1], [1, 2, 3]):
        with pytest.raises(ValueError, match="the order of a does not name each of its 3 channels once"):
            channel_order("a", wrong, 3)
