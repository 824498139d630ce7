"""What a neuron stands for, and what a response to an image then says: votes of integers.

    activity[j, c]   = mean number of spikes of neuron j to images of class c
    share[j, c]      = activity[j, c] / sum over classes
    label[j]         = the class of its largest share, -1 if it never spiked
    all-activity:          vote[j, c] = 1 / (neurons labelled c)             where label[j] = c, else 0
    proportion weighting:  vote[j, c] = share[j, c] / (neurons labelled c)   where label[j] = c, else 0
    prediction       = argmax over c of sum over j of spikes[j] vote[j, c], the lowest class at a tie, -1 in silence

Votes are kept as whole numbers, the largest being 65535.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["proportion", "all-activity"]
SILENT = -1
_LARGEST = 65535


def spike_counts(winners: NDArray[np.int16], neurons: int) -> NDArray[np.int32]:
    """How often each neuron spiked, [B, neurons], from the winners of each step, [B, T]."""
    rows = np.arange(len(winners), dtype=np.int64)[:, None] * (neurons + 1)
    places = (rows + winners + 1).reshape(-1)  # column 0 counts the steps without a spike
    counted = np.bincount(places, minlength=len(winners) * (neurons + 1))
    return counted.reshape(len(winners), neurons + 1)[:, 1:].astype(np.int32)


@dataclass
class Activity:
    """Spikes of each neuron by class, added up over images: [neurons, classes], and images of each class."""

    spikes: NDArray[np.int64]
    images: NDArray[np.int64]

    @classmethod
    def nothing(cls, neurons: int, classes: int) -> Activity:
        """Before any image."""
        return cls(np.zeros((neurons, classes), np.int64), np.zeros(classes, np.int64))

    def add(self, counts: NDArray[np.int32], labels: NDArray[Any]) -> None:
        """Count responses [B, neurons] to images of these classes."""
        for label in np.unique(labels):
            chosen = labels == label
            self.spikes[:, label] += counts[chosen].sum(0)
            self.images[label] += int(chosen.sum())


@dataclass(frozen=True)
class Labels:
    """The neurons' classes, int16 [neurons], -1 for none, and their votes by scheme, uint16 [neurons, classes]."""

    label: NDArray[np.int16]
    proportion: NDArray[np.uint16]
    all_activity: NDArray[np.uint16]

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return int(self.proportion.shape[1])

    def votes(self, scheme: Scheme) -> NDArray[np.uint16]:
        """The votes of one scheme."""
        if scheme not in get_args(Scheme):
            raise ValueError(f"scheme is {scheme!r}; allowed: {', '.join(get_args(Scheme))}")
        return self.proportion if scheme == "proportion" else self.all_activity

    def predict(self, counts: NDArray[np.int32], scheme: Scheme = "proportion") -> NDArray[np.int64]:
        """The class of each response [B, neurons]; -1 where no neuron with a class spiked."""
        said = counts.astype(np.int64) @ self.votes(scheme).astype(np.int64)
        return np.where(said.max(1) > 0, said.argmax(1), SILENT)

    @property
    def silent_neurons(self) -> int:
        """Neurons that never spiked."""
        return int((self.label == SILENT).sum())

    @property
    def missing_classes(self) -> list[int]:
        """Classes that no neuron stands for, so that they can never be predicted."""
        return [label for label in range(self.classes) if not (self.label == label).any()]


def assign(activity: Activity) -> Labels:
    """Give each neuron the class to which it responds most; the lowest at a tie."""
    mean = activity.spikes / np.maximum(activity.images, 1)
    total = mean.sum(1, keepdims=True)
    share = np.divide(mean, total, out=np.zeros_like(mean), where=total > 0)
    label = np.where(total[:, 0] > 0, share.argmax(1), SILENT).astype(np.int16)
    own = label[:, None] == np.arange(mean.shape[1])
    each = own / np.maximum(own.sum(0), 1)
    return Labels(label, _whole(share * each), _whole(each))


def confusion(labels: NDArray[Any], predictions: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """How often each class (row) was taken for each (column); a last column counts those without a prediction."""
    found = np.zeros((classes, classes + 1), np.int64)
    np.add.at(found, (labels, np.where(predictions == SILENT, classes, predictions)), 1)
    return found


def _whole(votes: NDArray[np.float64]) -> NDArray[np.uint16]:
    largest = votes.max()
    return np.round(votes * (_LARGEST / largest if largest > 0 else 0)).astype(np.uint16)
