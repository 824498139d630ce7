"""`StdpNetwork`: a configuration with what was learned; images in, spike counts and classes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitspike.stdp import floating, integers, native
from bitspike.stdp.coding import as_inputs, spike_train
from bitspike.stdp.config import StdpConfig
from bitspike.stdp.constants import integer_constants
from bitspike.stdp.labels import Activity, Labels, Scheme, assign, spike_counts
from bitspike.stdp.randomness import LEARNING_INPUT, RESPONSE_INPUT
from bitspike.stdp.state import State, initial_state

REFERENCE = "reference"
AT_ONCE = 1000
"""Images between two reports of progress."""


@dataclass
class StdpNetwork:
    """An unsupervised network.

    config  constants and widths
    state   weights, thresholds, scales; `learn` changes them
    labels  the neurons' classes and votes, or None before `assign_labels`
    about   provenance and results, plain data
    build   of the engine, None for the one that BITSPIKE_ENGINE names or the best; "reference": the definition on numpy
    """

    config: StdpConfig
    state: State = field(default=None)  # type: ignore[assignment]  # made from config where it is not given
    labels: Labels | None = None
    about: dict[str, Any] = field(default_factory=dict)
    build: str | None = None

    def __post_init__(self) -> None:
        if self.config.bits is not None:
            integer_constants(self.config)  # widths that do not fit one another are refused here
        if self.state is None:
            self.state = initial_state(self.config)

    @property
    def engine(self) -> str:
        """What computes: a build of the engine, or "reference"."""
        wished = os.environ.get("BITSPIKE_ENGINE")
        known = native.builds()
        return self.build or (wished if wished in (*known, REFERENCE) else None) or next(iter(known), REFERENCE)

    def learn(self, images: Any, numbers: Any = None) -> NDArray[np.int32]:
        """Learn from images in order; the spikes of each neuron to each, [B, N].

        numbers: of the images, for random numbers; by default they go on from what was learned before.
        """
        pixels = as_inputs(images, self.config.inputs)
        if numbers is None:
            numbers = self.state.images + np.arange(len(pixels))
        return spike_counts(self._present(pixels, np.asarray(numbers), learn=True, threads=1), self.config.neurons)

    def respond(
        self,
        images: Any,
        *,
        first: int = 0,
        threads: int | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.int32]:
        """Spikes of each neuron to each image, [B, N], without learning; on all cores.

        first: number of the first image; threads: how many, None for one a core; advance: told how many are done.
        """
        pixels = as_inputs(images, self.config.inputs)
        count = threads or _cores()
        parts = [np.zeros((0, self.config.neurons), np.int32)]
        for place in _chunks(len(pixels), AT_ONCE * count):
            numbers = first + np.arange(place.start, place.stop)
            winners = self._present(pixels[place], numbers, learn=False, threads=count)
            parts.append(spike_counts(winners, self.config.neurons))
            advance(len(winners))
        return np.concatenate(parts)

    def assign_labels(
        self,
        images: Any,
        labels: NDArray[Any],
        classes: int,
        *,
        threads: int | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Labels:
        """Give the neurons classes, by their responses to labelled images; kept in `labels`."""
        pixels = as_inputs(images, self.config.inputs)
        if len(pixels) != len(labels):
            raise ValueError(f"there are {len(pixels)} images and {len(labels)} labels; give one for each")
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(f"labels go from {labels.min()} to {labels.max()}; allowed are 0 to {classes - 1}")
        activity = Activity.nothing(self.config.neurons, classes)
        count = threads or _cores()
        for place in _chunks(len(pixels), AT_ONCE * count):
            activity.add(self.respond(pixels[place], first=place.start, threads=count, advance=advance), labels[place])
        self.labels = assign(activity)
        return self.labels

    def predict(self, images: Any, *, scheme: Scheme = "proportion", **how: Any) -> NDArray[np.int64]:
        """The class of each image, -1 where no neuron with a class spikes; `how` as in `respond`.

        An image's train of spikes follows from its number, so the same image may get another class as another number.
        Each call counts from 0: where one data set is given in several calls, say how many came before with `first=`.
        """
        if self.labels is None:
            raise ValueError("the neurons have no classes yet; call assign_labels with labelled images first")
        return self.labels.predict(self.respond(images, **how), scheme)

    def _present(
        self, pixels: NDArray[np.uint8], numbers: NDArray[Any], *, learn: bool, threads: int
    ) -> NDArray[np.int16]:
        if self.engine != REFERENCE:
            return native.present(
                self.config,
                self.state,
                numbers=numbers,
                learn=learn,
                pixels=pixels,
                build=self.engine,
                threads=threads,
            )
        found = np.zeros((len(pixels), self.config.steps), np.int16)
        for place, (row, number) in enumerate(zip(pixels, numbers, strict=True)):
            train = spike_train(self.config, row, int(number), LEARNING_INPUT if learn else RESPONSE_INPUT)
            if self.config.bits is None:
                found[place] = floating.present(self.config, self.state, train, learn=learn)
            else:
                found[place] = integers.present(self.config, self.state, train, int(number), learn=learn)
        return found


def _chunks(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


def _cores() -> int:
    """All that this process may use, or BITSPIKE_THREADS."""
    text = os.environ.get("BITSPIKE_THREADS") or ""
    if text:
        if not text.isdecimal() or not 1 <= int(text) <= 256:
            raise ValueError(f"BITSPIKE_THREADS is {text!r}; allowed: 1 to 256")
        return int(text)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
