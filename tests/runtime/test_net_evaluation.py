"""Evaluating an integer network, and the file that it comes from."""

import numpy as np
import pytest

from bitspike import IntegerNet, lower
from bitspike.data import Dataset
from bitspike.runtime import About, evaluate_integers
from networks import EventNet, ImageNet, events, images


def image_data(count=10, **changes):
    labels = np.arange(count, dtype=np.int64) % 4
    fields = {"inputs": images(count).numpy(), "labels": labels, "classes": 4, "mean": (0.4, 0.6), "std": 0.25}
    return Dataset("made", "test", **(fields | changes))


def event_data(count=5, steps=3):
    inputs = np.moveaxis(events(steps, count).numpy(), 1, 0)
    return Dataset("made", "test", inputs, np.zeros(count, np.int64), 3, bound=3)


def test_counts_are_those_of_the_spikes():
    net, data = lower(ImageNet()), image_data()
    done = []
    found = evaluate_integers(net, data, batch=4, advance=done.append)
    predicted = net.predict(data.inputs).argmax(1)
    assert found.correct == int((predicted == data.labels).sum())
    assert found.accuracy == found.correct / 10
    assert done == [4, 4, 2]
    expected = np.zeros((4, 4), int)
    for label, answer in zip(data.labels, predicted, strict=True):
        expected[label, answer] += 1
    assert found.confusion.tolist() == expected.tolist()
    values = net.spikes(data.inputs)
    assert found.firing_rates == {name: values[name].mean() for name in ("first", "second")}


@pytest.mark.parametrize(("net", "data"), [(ImageNet, image_data), (EventNet, event_data)])
def test_both_orders_give_the_same_numbers(net, data):
    layers, steps = (evaluate_integers(lower(net()), data(), order=order, batch=3) for order in ("layers", "steps"))
    assert layers.confusion.tolist() == steps.confusion.tolist()
    assert layers.firing_rates == steps.firing_rates


@pytest.mark.parametrize(
    ("net", "data", "message"),
    [
        (ImageNet, event_data(), "made holds events, the network takes images"),
        (ImageNet, image_data(0), "has no samples to evaluate"),
        (ImageNet, image_data(classes=5), "the network tells 4 classes apart, made has 5"),
        (ImageNet, image_data(inputs=np.zeros((10, 2, 6, 5), np.uint8)), "samples of shape 2x6x5 .* takes 2x6x6"),
        (EventNet, event_data(steps=2), "binned into 2 time steps, the network takes 3"),
    ],
)
def test_data_that_does_not_fit_is_refused(net, data, message):
    with pytest.raises(ValueError, match=message):
        evaluate_integers(lower(net()), data)


def test_a_batch_of_none_is_refused():
    with pytest.raises(ValueError, match="batch is 0; it must be 1 or more"):
        evaluate_integers(lower(ImageNet()), image_data(), batch=0)


@pytest.mark.parametrize(("net", "samples"), [(ImageNet(), images()), (EventNet("3w4u"), events())])
def test_a_saved_network_answers_as_before(tmp_path, net, samples):
    integers = lower(net)
    about = About({"seed": 3}, {"test_accuracy": 0.25})
    integers.save(tmp_path / "net.bsp", about=about)
    again = IntegerNet.load(tmp_path / "net.bsp")
    assert (again.about, again.notes, repr(again)) == (about, integers.notes, repr(integers))
    assert (again.predict(samples.numpy()) == integers.predict(samples.numpy())).all()
    again.save(tmp_path / "again.bsp")  # with what is known of it
    assert (tmp_path / "again.bsp").read_bytes() == (tmp_path / "net.bsp").read_bytes()
    state = again.state()
    steps = samples.numpy() if samples.dim() == 5 else [samples.numpy()] * 3
    for frame in steps:
        logits = again.step(frame, state)
    assert (logits == integers.predict(samples.numpy())).all()


def test_an_order_that_is_none_is_refused():
    with pytest.raises(ValueError, match="order is 'layer'; allowed: layers, steps"):
        evaluate_integers(lower(ImageNet()), image_data(), order="layer")
