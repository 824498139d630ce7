"""Evaluation against predictions counted by hand, and clear refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from train_samples import make_images

from bitspike.model import create_model
from bitspike.train.evaluate import evaluate


class Answers(nn.Module):
    """Says the class that the first pixel names; two steps that disagree, the mean decides."""

    def __init__(self, classes=3, flat=False):
        super().__init__()
        self.classes, self.flat = classes, flat

    def forward(self, images):
        first = nn.functional.one_hot(images[:, 0, 0, 0].long() % self.classes, self.classes).float()
        logits = torch.stack([3 * first, -first])
        return logits[0] if self.flat else logits


def coded(classes=3):
    data = make_images(12)
    inputs = data.inputs.copy()
    inputs[:, 0, 0, 0] = data.labels
    inputs[0, 0, 0, 0] = 2  # a "top" that is answered "none"
    return replace(data, inputs=inputs)


def test_counts_confusion_and_accuracy_by_hand():
    found = evaluate(Answers(), coded(), batch=5)
    assert (found.correct, found.samples, found.accuracy) == (11, 12, 11 / 12)
    assert found.confusion.tolist() == [[3, 0, 1], [0, 4, 0], [0, 0, 4]]
    assert found.firing_rates == {}
    assert found.to_dict()["confusion"][0] == [3, 0, 1]


@pytest.mark.filterwarnings("error")
def test_read_only_data_is_fine():
    data = coded()
    data.inputs.setflags(write=False)
    assert evaluate(Answers(), data).correct == 11


@pytest.mark.parametrize("spec", ["1w2u", "32w32u"])
def test_batch_size_changes_nothing_and_the_networks_state_stays(spec, images):
    torch.manual_seed(0)
    net = create_model("small8", spec=spec, widths=[4, 8], classes=3, mean=[0.25], std=0.2)
    net(torch.from_numpy(images.inputs))
    net.train()
    net.conv1.pool.eval()
    whole, parts = evaluate(net, images), evaluate(net, images, batch=7)
    assert np.array_equal(whole.confusion, parts.confusion)
    if spec == "1w2u":
        assert whole.firing_rates == parts.firing_rates
    assert list(whole.firing_rates) == ["conv1", "conv2"]
    assert net.training
    assert net.conv1.training
    assert not net.conv1.pool.training


def test_events_enter_time_first(events):
    options = {"widths": [4], "classes": 2, "input_shape": [2, 8, 8], "time_steps": 3, "bound": 15}
    net = create_model("small_events", spec="1w4u", **options)
    assert evaluate(net, events).samples == 40


def test_data_that_does_not_fit_is_refused(images, events):
    net = create_model("small28", classes=3)
    with pytest.raises(ValueError, match=r"stripes has samples of shape 1x8x8 \(C, H, W\), the network takes 1x28x28"):
        evaluate(net, images)
    with pytest.raises(ValueError, match="tells 7 classes apart, stripes has 3"):
        evaluate(create_model("small8", classes=7, mean=[0.25], std=0.2), images)
    with pytest.raises(ValueError, match=r"logits of shape 12x3 .*must be \[T, B, classes\]"):
        evaluate(Answers(flat=True), coded())
    with pytest.raises(ValueError, match="no samples"):
        evaluate(Answers(), images.subset([]))
    with pytest.raises(ValueError, match="batch is 0"):
        evaluate(Answers(), images, batch=0)
    with pytest.raises(ValueError, match="sides holds events, the network takes images"):
        evaluate(create_model("small8", classes=2, input_shape=[2, 8, 8]), events)
    net = create_model("small_events", widths=[4], classes=2, input_shape=[2, 8, 8], time_steps=5, bound=15)
    with pytest.raises(ValueError, match="binned into 3 time steps, the network takes 5; load the data with"):
        evaluate(net, events)


def test_labels_out_of_range_are_refused(images):
    images.labels[3] = 5  # after the data set was made, where it would have been refused
    with pytest.raises(ValueError, match="labels from 0 to 5; allowed: 0 to 2"):
        evaluate(Answers(), images)
