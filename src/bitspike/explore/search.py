"""The loop of an exploration: hand out what waits, write down what ends, ask for more.

The same loop serves the leader, which proposes candidates, and workers on other machines, which only take them.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bitspike.explore.evaluate import Rival
from bitspike.explore.executor import Executor, Job
from bitspike.explore.proposals import Proposer
from bitspike.explore.store import COMPLETE, RUNNING, WAITING, Store, Trial

BEAT = 10.0
"""Seconds between two signs of life."""

STALE = 6 * BEAT
"""Seconds without one after which a candidate is done again by somebody else."""

Watch = Callable[[Sequence[Trial]], None]
log = logging.getLogger("bitspike.explore")


@dataclass
class Search:
    """One process's part in an exploration.

    proposer: of the leader, None for others; synchronous: a generation begins when all before it is finished;
    early_stop: candidates that train and are hopeless stop; alone: no other process shares the store, so that whatever
    runs there, and not here, was left by one that was killed.
    """

    store: Store
    executor: Executor
    proposer: Proposer | None = None
    synchronous: bool = True
    early_stop: bool = False
    alone: bool = True
    watch: Watch = lambda trials: None
    poll: float = 1.0
    _mine: set[int] = field(default_factory=set)
    _told: dict[int, tuple[str, float]] = field(default_factory=dict)
    _generation: int = -1
    _done: bool = False

    def run(self) -> None:
        """Go on until nothing is left to do."""
        stop = threading.Event()
        beating = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        if not self.alone:
            beating.start()
        try:
            ended = False
            while True:
                trials = self.store.trials()
                if ended:
                    self.watch(trials)
                    ended = False
                if self._propose(trials):
                    continue
                if self._is_over(trials):
                    break
                self._hand_out(trials)
                ended = self._write_down()
        finally:
            stop.set()
            self.executor.close()

    # ---- the leader's part ----

    def _propose(self, trials: Sequence[Trial]) -> bool:
        """Write down new candidates; whether there are any."""
        if self.proposer is None or self._done:
            return False
        if not self.synchronous:
            return self._propose_one(trials)
        if self._generation < 0:  # begun, or begun again: the last generation may have been cut off while written down
            self._generation = max((trial.generation for trial in trials), default=0) - 1
        elif not all(trial.is_finished for trial in trials):
            return False
        self._generation += 1
        earlier = [trial for trial in trials if trial.generation < self._generation]
        there = sum(trial.generation == self._generation for trial in trials)
        proposals = self.proposer.proposals(self._generation, earlier)
        for proposal in proposals[there:]:
            self.store.add(proposal.choices, self._generation, proposal.system)
        self._done = not proposals
        return bool(proposals)

    def _propose_one(self, trials: Sequence[Trial]) -> bool:
        """Asynchronous: one more whenever fewer wait than are worked on, from whatever happens to be finished."""
        waiting = sum(trial.state == WAITING for trial in trials)
        running = sum(trial.state == RUNNING for trial in trials)
        if self.proposer is None or waiting >= max(running, self.executor.slots):
            return False
        proposals = self.proposer.next_one(trials)
        for proposal in proposals:
            self.store.add(proposal.choices, len(trials), proposal.system)
        self._done = not proposals
        return bool(proposals)

    def _is_over(self, trials: Sequence[Trial]) -> bool:
        """A leader is done with the last trial; others go when the leader says so."""
        open_ones = [trial for trial in trials if not trial.is_finished]
        if self.proposer is None:
            return not self._mine and not any(trial.state == WAITING for trial in open_ones) and self.store.is_finished
        return not open_ones and self._done

    # ---- everybody's part ----

    def _hand_out(self, trials: Sequence[Trial]) -> None:
        room = self.executor.slots - len(self._mine)
        if room <= 0:
            return
        open_ones = [trial for trial in trials if not trial.is_finished and trial.number not in self._mine]
        if not self.alone:
            random.Random(os.urandom(8)).shuffle(open_ones)  # or all would reach for the same one
        for trial in open_ones:
            free = trial.state == WAITING and self.store.claim(trial.number)
            if free or self._is_left(trial):
                self._mine.add(trial.number)
                self.executor.submit(Job(trial.number, trial.choices, self._rivals(trial, trials)))
                room -= 1
                if room == 0:
                    return

    def _is_left(self, trial: Trial) -> bool:
        """Whether a running trial's process is gone: at once where nobody else is there, else by its silence."""
        if trial.state != RUNNING or self.proposer is None:
            return False
        if self.alone:
            return True
        now = time.monotonic()
        sign, since = self._told.setdefault(trial.number, (trial.alive, now))
        if sign != trial.alive:
            self._told[trial.number] = (trial.alive, now)
            return False
        if now - since <= STALE:
            return False
        log.warning("nothing was heard of candidate %d for %g seconds; it is done again", trial.number, STALE)
        return True

    def _write_down(self) -> bool:
        """Write down what has ended; whether anything has."""
        outcomes = self.executor.finished(self.poll)
        for outcome in outcomes:
            self.store.tell(outcome.number, outcome.state, outcome.row)
            self._mine.discard(outcome.number)
        if not outcomes and not self._mine:
            time.sleep(self.poll)  # others work, or the leader thinks
        return bool(outcomes)

    def _rivals(self, trial: Trial, trials: Sequence[Trial]) -> tuple[Rival, ...] | None:
        """Trained candidates of earlier generations, so always the same, that a later one may be hopeless beside."""
        if not self.early_stop:
            return None
        rows = [
            other.row
            for other in trials
            if other.generation < trial.generation and other.state == COMPLETE and other.row is not None
        ]
        return tuple(Rival(row["memory"], tuple(row["history"])) for row in rows if row.get("history"))

    def _beat(self, stop: threading.Event) -> None:
        """Tell the others that what runs here is alive."""
        name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        count = 0
        while not stop.wait(BEAT):
            count += 1
            for number in list(self._mine):
                try:
                    self.store.beat(number, f"{name}:{count}")
                except Exception as error:  # the next one may get through again
                    log.warning("no sign of life could be given: %s", error)
