"""The training loop: from where a run stands to its last epoch; it can stop and go on after any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bitspike.block import set_progress_
from bitspike.block.across import processes, summed
from bitspike.data import Dataset
from bitspike.runtime import Evaluation
from bitspike.train.batches import Batches
from bitspike.train.checkpoint import Run, save_state
from bitspike.train.config import Recipe
from bitspike.train.distributed import draw_apart, from_first, highest, is_first, meet
from bitspike.train.evaluate import check_logits, evaluate
from bitspike.train.firing import FiringRates, over_processes, regulated_layers
from bitspike.train.interrupt import StopRequest, TrainingStopped
from bitspike.train.losses import CLASSIFICATION_LOSSES, DISTILLATION_LOSSES, spike_rate_loss
from bitspike.train.model_file import refuse_non_finite
from bitspike.train.optimizer import set_learning_rate
from bitspike.train.precision import chosen_precision
from bitspike.train.progress import TrainingProgress
from bitspike.train.schedule import learning_rate
from bitspike.train.teacher import Teacher

EpochCallback = Callable[[Mapping[str, Any]], None]


@dataclass
class TrainingLoop:
    """The parts of a run that stay the same; everything that a step changes is in `run`.

    replica: the run's network as it is called in training, wrapped where several processes train it.
    """

    run: Run
    replica: nn.Module
    batches: Batches
    validation: Dataset | None
    recipe: Recipe
    state: Path | None
    identity: dict[str, Any]
    teacher: Teacher | None = None
    save_every: float = 60.0

    def __post_init__(self) -> None:
        device = next(self.run.net.parameters()).device
        self.precision = chosen_precision(self.recipe.train.precision, device)
        self._saved = time.monotonic()

    def train(self, display: TrainingProgress, on_epoch: EpochCallback | None = None) -> Evaluation | None:
        """Train to the last epoch; its validation, where there is a validation split, in the first process."""
        progress, config = self.run.progress, self.recipe.train
        found: Evaluation | None = None
        self._saved = time.monotonic()
        rates = FiringRates(self.run.net, differentiable=self.recipe.regulation.spike_loss > 0)
        with display, StopRequest() as stop, rates:
            display.begin(self.recipe.name, config.epochs, self.batches.steps, self.batches.size, self._done())
            while progress.epoch < config.epochs:
                self._train_epoch(display, stop, rates)
                found = self._finish_epoch()
                display.epoch(progress.history[-1])
                if on_epoch is not None:
                    on_epoch(progress.history[-1])
                self._save()
                (number,) = highest(stop.received or 0)
                if number:
                    self._stop(number)
        return found

    def _train_epoch(self, display: TrainingProgress, stop: StopRequest, rates: FiringRates) -> None:
        """The steps of this epoch that are not done yet."""
        progress, steps = self.run.progress, self.batches.steps
        # On a GPU, reading a value waits for all the work queued; sixteen steps at a time keep it busy.
        together = 1 if self.batches.inputs.device.type == "cpu" else 16
        set_progress_(self.run.net, progress.epoch / self.recipe.train.epochs)
        self.run.net.train()
        pending: list[Tensor] = []
        began = time.perf_counter()
        while progress.step < steps:
            pending.append(self._step(rates))
            progress.step += 1
            due = int(self.state is not None and time.monotonic() - self._saved >= self.save_every)
            number = stop.received or 0
            regular = progress.step == steps or len(pending) >= together
            # Several processes ask each other where all of them come by, so that they save and stop after one step.
            if regular or (processes() == 1 and (due or number)):
                due, number = highest(due, number)
                loss = self._collect(pending)
                now = time.perf_counter()
                progress.epoch_seconds, began = progress.epoch_seconds + now - began, now
                display.step(self._done(), progress.epoch, loss, self._firing() if display.bar else {})
                if number:
                    self._stop(number)
                if due:
                    self._save()

    def _done(self) -> int:
        return self.run.progress.epoch * self.batches.steps + self.run.progress.step

    def _save(self) -> None:
        if self.state is not None:
            if is_first():
                refuse_non_finite(self.run.net.state_dict(), f"training cannot go on, and {self.state} stays as it was")
                save_state(self.state, self.run, self.identity)
            self._saved = time.monotonic()

    def _step(self, rates: FiringRates) -> Tensor:
        """One batch forward and back; returns (loss, spike-rate loss, correct) without waiting for them.

        Of several processes' numbers the sum is that of the batch.
        """
        run, config, regulation = self.run, self.recipe.train, self.recipe.regulation
        set_learning_rate(run.optimizer, learning_rate(config, self._done(), self.batches.steps))
        inputs, labels = self.batches.get(run.progress.epoch, run.progress.step)
        draw_apart(config.seed, run.progress.epoch, run.progress.step)
        rates.clear()
        run.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            taught = None if self.teacher is None else self.teacher.logits(inputs, self.batches.classes)
            logits = self.replica(inputs)
        check_logits(logits, labels, self.batches.classes, self.recipe.data.name)
        loss = CLASSIFICATION_LOSSES[config.loss](logits, labels, smoothing=config.label_smoothing)
        if taught is not None:
            teacher = self.recipe.teacher
            told = DISTILLATION_LOSSES[config.loss](logits, taught, temperature=teacher.temperature)
            loss = (1 - teacher.weight) * loss + teacher.weight * told
        firing = over_processes(rates.rates())
        spike_loss = torch.zeros_like(loss)
        if regulation.spike_loss:
            layers = regulated_layers(firing, regulation.layers)
            spike_loss = spike_rate_loss(layers, form=regulation.form, target=regulation.target)
            loss = loss + regulation.spike_loss * spike_loss
        loss.backward()
        if config.clip:
            nn.utils.clip_grad_norm_(run.net.parameters(), config.clip)
        run.optimizer.step()
        if run.average is not None:
            run.average.update(run.net, self._done())
        for name, rate in firing.items():
            previous = run.firing_sum.get(name)
            run.firing_sum[name] = rate.detach() if previous is None else previous + rate.detach()
        correct = (logits.detach().float().mean(0).argmax(-1) == labels).sum()
        return torch.stack([loss.detach() / processes(), spike_loss.detach() / processes(), correct.float()])

    def _collect(self, pending: list[Tensor]) -> float:
        """Add the numbers of the last steps, one by one as they came; the newest loss."""
        progress, loss = self.run.progress, 0.0
        first = progress.step - len(pending)
        for index, (loss, spike_loss, correct) in enumerate(summed(torch.stack(pending)).tolist()):
            if not math.isfinite(loss):
                raise ValueError(
                    f"the loss became {loss} in epoch {progress.epoch + 1}, step {first + index + 1} of "
                    f"{self.batches.steps}; nothing was saved since. Lower train.lr, set train.clip = 1, or "
                    "lengthen train.warmup_epochs, and start over"
                )
            progress.loss_sum += loss
            progress.spike_loss_sum += spike_loss
            progress.correct += int(correct)
        pending.clear()
        return loss

    def _firing(self) -> dict[str, float]:
        if not self.run.firing_sum:
            return {}
        sums = torch.stack(
            list(self.run.firing_sum.values())
        ).tolist()  # read at once, since a GPU waits for each reading
        return {name: value / self.run.progress.step for name, value in zip(self.run.firing_sum, sums, strict=True)}

    def _finish_epoch(self) -> Evaluation | None:
        """Validate where it is due, write the epoch's record, and move to the next epoch."""
        progress, config = self.run.progress, self.recipe.train
        samples = self.batches.steps * self.batches.size
        last = progress.epoch + 1 == config.epochs
        due = last or (config.validate_every and (progress.epoch + 1) % config.validate_every == 0)
        found = self._validate() if due else None
        last_step = (progress.epoch + 1) * self.batches.steps - 1
        record = {
            "epoch": progress.epoch,
            "loss": progress.loss_sum / self.batches.steps,
            "spike_loss": progress.spike_loss_sum / self.batches.steps,
            "train_accuracy": progress.correct / samples,
            "validation_accuracy": None if found is None else found.accuracy,
            "firing_rates": self._firing(),
            "learning_rate": learning_rate(config, last_step, self.batches.steps),
            "samples_per_second": samples / max(progress.epoch_seconds, 1e-9),
            "seconds": progress.epoch_seconds,
        }
        progress.history.append(from_first(record))
        progress.next_epoch()
        self.run.firing_sum.clear()
        return found

    def _validate(self) -> Evaluation | None:
        if self.validation is None or not is_first():
            return None
        if self.run.average is None:
            return evaluate(self.run.net, self.validation)
        with self.run.average.applied(self.run.net):
            return evaluate(self.run.net, self.validation)

    def _stop(self, number: int) -> None:
        """Save and leave; the same command goes on from here."""
        progress = self.run.progress
        where = f"stopped in epoch {progress.epoch + 1} after step {progress.step}"
        if self.state is None:
            raise TrainingStopped(f"{where}; nothing was kept, since no folder was given (out)", number)
        self._save()
        meet()  # nobody leaves before the state is written
        raise TrainingStopped(f"{where}; the same command goes on from {self.state}", number)
