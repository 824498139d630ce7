"""Losses: cross entropy over time, distillation of a teacher's logits, and the spike-rate penalty of Q-SNN."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def per_step_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """(1 / T) sum_t CE(logits[t], labels), averaged over the batch; logits [T, B, K], labels [B].

    Every step is asked to classify on its own (temporal efficient training, Deng et al. 2022; Q-SNN's loss).
    """
    steps = logits.shape[0]
    flat = logits.float().flatten(0, 1)
    return functional.cross_entropy(flat, labels.repeat(steps), label_smoothing=smoothing)


def time_mean_cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """CE(mean_t logits[t], labels), averaged over the batch; logits [T, B, K], labels [B]."""
    return functional.cross_entropy(logits.float().mean(0), labels, label_smoothing=smoothing)


def per_step_distillation(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """(tau^2 / T) sum_t KL(softmax(taught / tau), softmax(logits[t] / tau)), averaged over the batch.

    logits [T, B, K] of the student, taught [B, K] of the teacher. tau^2 keeps the gradient's size whatever tau.
    """
    student = functional.log_softmax(logits.float() / temperature, -1)
    teacher = functional.log_softmax(taught.float() / temperature, -1)
    divergence = (teacher.exp() * (teacher - student)).sum(-1)
    return temperature**2 * divergence.mean()


def time_mean_distillation(logits: Tensor, taught: Tensor, *, temperature: float) -> Tensor:
    """The same of the student's mean logits."""
    return per_step_distillation(logits.float().mean(0, keepdim=True), taught, temperature=temperature)


CLASSIFICATION_LOSSES = {"per-step": per_step_cross_entropy, "time-mean": time_mean_cross_entropy}
DISTILLATION_LOSSES = {"per-step": per_step_distillation, "time-mean": time_mean_distillation}
"""The names that `train.loss` of a recipe knows, and what a teacher adds under the same name."""


def spike_rate_loss(rates: Sequence[Tensor], *, form: str = "sum", target: float = 0.5) -> Tensor:
    """sum_l (f_l - target)^2, or its mean over layers; f_l is the firing rate of layer l in [0, 1].

    A spike that is as likely as not carries most information, hence the target of one half (Q-SNN, section
    WS-DR). The paper writes the sum, its code computes the mean: with L layers the same lambda differs by L.
    """
    if form not in ("sum", "mean"):
        raise ValueError(f"form is {form!r}; allowed: sum, mean")
    if not rates:
        raise ValueError("the spike-rate loss got no firing rates; it needs at least one layer")
    squares = (torch.stack(list(rates)) - target).square()
    return squares.sum() if form == "sum" else squares.mean()
