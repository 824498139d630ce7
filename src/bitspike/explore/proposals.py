"""What is tried next: everything in order, or what one of optuna's samplers proposes from what is finished.

Proposals come in generations. Those of a generation follow from the space, the seed and the finished trials of earlier
generations alone, so that they are the same whoever evaluates them, in which order, and after any kill.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from bitspike.drawing import stream
from bitspike.explore.evaluate import Subject
from bitspike.explore.pareto import LARGER_IS_BETTER
from bitspike.explore.space import Space
from bitspike.explore.store import COMPLETE, Trial

SAMPLERS = ("exhaustive", "one-at-a-time", "nsga2", "tpe", "random")
EXHAUSTIVE_UP_TO = 1000
"""Candidates that are all tried where no sampler is named."""

TRIALS = 100
"""How many candidates a sampler may try where nobody says."""

_TRIES = 50
"""How often a sampler may propose what was tried already, or cannot be, before chance gets as many tries."""


class Proposal(NamedTuple):
    """Choices, and what the sampler wants to remember of them."""

    choices: dict[str, Any]
    system: dict[str, Any]


@dataclass(frozen=True)
class Proposer:
    """How an exploration goes on.

    trials: how many candidates a sampler may try; generation: how many at once.
    """

    subject: Subject
    sampler: str
    trials: int
    generation: int

    @property
    def takes_all(self) -> bool:
        """Whether what is tried is known before anything is."""
        return self.sampler in ("exhaustive", "one-at-a-time")

    def proposals(self, generation: int, finished: Sequence[Trial]) -> list[Proposal]:
        """The candidates of a generation, from the trials of all earlier ones; none where all is done."""
        if self.takes_all:
            everything = self.distinct
            size = self.generation or len(everything)
            return [Proposal(choices, {}) for choices in everything[generation * size : (generation + 1) * size]]
        count = min(self.generation, self.trials - len(finished))
        return self._sampled(generation, finished, count) if count > 0 else []

    def next_one(self, trials: Sequence[Trial]) -> list[Proposal]:
        """One more candidate beside those that are there, finished or not; none where all is done."""
        if self.takes_all:
            return [Proposal(choices, {}) for choices in self.distinct[len(trials) : len(trials) + 1]]
        if len(trials) >= self.trials:
            return []
        return self._sampled(len(trials), trials, 1)

    @cached_property
    def distinct(self) -> list[dict[str, Any]]:
        """All choices of the space that can be, without those that come to the same as earlier ones."""
        found, seen = [], set()
        refusal = ""
        for choices in self.subject.space if self.sampler == "exhaustive" else self.subject.space.one_at_a_time():
            try:
                key = self.subject.meaning(choices)
            except (ValueError, TypeError) as error:
                refusal = str(error)
                continue
            if key not in seen:
                seen.add(key)
                found.append(choices)
        if not found:
            raise ValueError(f"no candidate of the space can be: {refusal}")
        return found

    def _sampled(self, generation: int, trials: Sequence[Trial], count: int) -> list[Proposal]:
        """Ask a sampler, in a study of its own in memory that holds the trials so far."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every study otherwise
        study = optuna.create_study(
            directions=["maximize" if LARGER_IS_BETTER[name] else "minimize" for name in self.subject.objectives],
            sampler=self._make_sampler(generation),
        )
        distributions = {
            name: optuna.distributions.CategoricalDistribution(list(values))
            for name, values in self.subject.space.dimensions.items()
        }
        worst = self._worst(trials)
        for trial in trials:
            study.add_trial(self._known(trial, distributions, worst))
        seen = {self.subject.meaning(trial.choices) for trial in trials}
        draw = random.Random(stream(self.subject.seed, "instead", str(generation)))
        found: list[Proposal] = []
        for _ in range(count):
            proposal, refusal = self._new_one(study, distributions, seen, draw)
            if proposal is None:
                if not found and not trials:
                    raise ValueError(f"no candidate of the space can be, of {2 * _TRIES} that were tried: {refusal}")
                break
            found.append(proposal)
        return found

    def _new_one(
        self, study: Any, distributions: Mapping[str, Any], seen: set[str], draw: random.Random
    ) -> tuple[Proposal | None, Exception | None]:
        """What the sampler proposes and was not seen before; or None, and why the last one cannot be.

        A sampler that has found its favourites repeats them, so after a while it is given random ones.
        """
        from optuna.trial import TrialState

        refusal: Exception | None = None
        for attempt in range(2 * _TRIES):
            if attempt >= _TRIES:
                study.enqueue_trial(
                    {name: draw.choice(values) for name, values in self.subject.space.dimensions.items()}
                )
            asked = study.ask(dict(distributions))
            choices = {name: asked.params[name] for name in self.subject.space.dimensions}
            try:
                key = self.subject.meaning(choices)
            except (ValueError, TypeError) as error:
                refusal = error
            else:
                if key not in seen:
                    seen.add(key)
                    remembered = study._storage.get_trial(asked._trial_id).system_attrs
                    return Proposal(choices, dict(remembered)), None
            study.tell(asked, state=TrialState.FAIL)
        return None, refusal

    def _worst(self, trials: Sequence[Trial]) -> list[float] | None:
        """The worst number so far in every objective; None before there is any."""
        rows = [trial.row for trial in trials if trial.state == COMPLETE and trial.row is not None]
        if not rows:
            return None
        return [
            float((min if LARGER_IS_BETTER[name] else max)(row[name] for row in rows))
            for name in self.subject.objectives
        ]

    def _known(self, trial: Trial, distributions: Mapping[str, Any], worst: list[float] | None) -> Any:
        """A trial as a sampler sees it: one that failed or was stopped counts as the worst in everything.

        It would not count at all otherwise, and nsga2 would wait for another one in its place.
        """
        import optuna

        values = worst if trial.is_finished else None
        if trial.state == COMPLETE and trial.row is not None:
            values = [float(trial.row[name]) for name in self.subject.objectives]
        return optuna.trial.create_trial(
            state=optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE,
            params=trial.choices,
            distributions=dict(distributions),
            values=values,
            system_attrs=trial.system,
        )

    def _make_sampler(self, generation: int) -> Any:
        import optuna

        seed = stream(self.subject.seed, "sampler", str(generation)) % 2**32
        if self.sampler == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=max(2, self.generation), seed=seed)
        if self.sampler == "tpe":
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=2 * self.generation)
        return optuna.samplers.RandomSampler(seed=seed)


def chosen_sampler(name: str, space: Space, trials: int | None = None) -> str:
    """The sampler of that name; "auto" tries everything where the space is small and nobody asks for fewer trials."""
    if name == "auto":
        most = EXHAUSTIVE_UP_TO if trials is None else min(trials, EXHAUSTIVE_UP_TO)
        return "exhaustive" if space.size <= most else "nsga2"
    if name not in SAMPLERS:
        raise ValueError(f"sampler is {name!r}; allowed: auto, {', '.join(SAMPLERS)}")
    return name
