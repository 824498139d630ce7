import numpy as np
import pytest

from bitspike.stdp.labels import Activity, assign, confusion, spike_counts


def test_counts_of_winners():
    winners = np.array([[-1, 0, 2, 2], [-1, -1, -1, 1]], np.int16)
    np.testing.assert_array_equal(spike_counts(winners, 3), [[1, 0, 2], [0, 1, 0]])
    assert spike_counts(np.zeros((0, 4), np.int16), 3).shape == (0, 3)


def test_labels_are_by_mean_activity_not_by_number():
    """Class 1 has fewer images, so its mean is higher."""
    activity = Activity.nothing(3, 2)
    activity.add(np.array([[2, 0, 0], [2, 0, 0], [3, 1, 0]], np.int32), np.array([0, 0, 1]))
    found = assign(activity)
    np.testing.assert_array_equal(found.label, [1, 1, -1])
    assert found.silent_neurons == 1
    assert found.missing_classes == [0]
    np.testing.assert_array_equal(found.all_activity, [[0, 65535], [0, 65535], [0, 0]])
    np.testing.assert_array_equal(found.proportion, [[0, 39321], [0, 65535], [0, 0]])  # shares 3/5 and 1


def test_votes_decide_and_silence_is_no_class():
    activity = Activity(np.array([[9, 1], [4, 6]]), np.array([1, 1]))
    found = assign(activity)
    counts = np.array([[2, 0], [2, 3], [0, 0]], np.int32)
    # By shares of 0.9 and 0.6 two spikes weigh as much as three, and the lower class wins.
    np.testing.assert_array_equal(found.predict(counts, "proportion"), [0, 0, -1])
    np.testing.assert_array_equal(found.predict(counts, "all-activity"), [0, 1, -1])
    with pytest.raises(ValueError, match="scheme is 'best'; allowed: proportion, all-activity"):
        found.predict(counts, "best")


def test_votes_are_divided_among_the_neurons_of_a_class():
    activity = Activity(np.array([[9, 0], [9, 0], [0, 9]]), np.array([1, 1]))
    found = assign(activity)
    np.testing.assert_array_equal(found.predict(np.array([[1, 0, 1], [2, 1, 1]], np.int32)), [1, 0])


def test_confusion_has_a_column_for_no_class():
    found = confusion(np.array([0, 1, 1]), np.array([0, -1, 0]), 2)
    np.testing.assert_array_equal(found, [[1, 0, 0], [1, 0, 1]])
