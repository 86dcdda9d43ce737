"""The progress of a training: the state that changes from step to step, for checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


def _zero() -> torch.Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """The position of the training loop, and running sums. The sums stay on the device, so that no step waits for them.

    Attributes:
        next_step: the next step, counted from 0.
        best_accuracy: the highest test accuracy so far, in 0..1; -1 before the first evaluation.
        loss_sum: sum of the losses since the last reported loss.
        prior_sum: sum, over the same steps, of the loss of a model that always predicts the class frequencies.
        loss_steps: number of steps in both sums.
        correct: number of correctly classified training examples since the last evaluation.
        seen: number of training examples since the last evaluation.
    """

    next_step: int = 0
    best_accuracy: float = -1.0
    loss_sum: torch.Tensor = field(default_factory=_zero)
    prior_sum: torch.Tensor = field(default_factory=_zero)
    loss_steps: int = 0
    correct: torch.Tensor = field(default_factory=_zero)
    seen: int = 0

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, surprise: torch.Tensor) -> None:
        """Add a step to the sums.

        Args:
            loss: the mean loss of the batch, a scalar.
            logits: shape (batch, classes).
            labels: classes, shape (batch,).
            surprise: the negative log frequency of each class, shape (classes,).
        """
        self.next_step += 1
        self.loss_sum = self.loss_sum.to(loss.device) + loss.detach()
        self.prior_sum = self.prior_sum.to(loss.device) + surprise[labels].mean()
        self.loss_steps += 1
        self.correct = self.correct.to(loss.device) + (logits.detach().argmax(dim=-1) == labels).sum()
        self.seen += len(labels)

    def take_loss(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return and reset the mean loss, and the mean loss of predicting the class frequencies."""
        means = self.loss_sum / self.loss_steps, self.prior_sum / self.loss_steps
        self.loss_sum, self.prior_sum = torch.zeros_like(self.loss_sum), torch.zeros_like(self.prior_sum)
        self.loss_steps = 0
        return means

    def take_accuracy(self) -> torch.Tensor:
        """Return and reset the training accuracy, in 0..1. It is measured with dropout."""
        accuracy = self.correct / self.seen
        self.correct, self.seen = torch.zeros_like(self.correct), 0
        return accuracy


def state_of(progress: TrainingProgress, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the whole state of a training, including the random number generators."""
    on_cuda = progress.loss_sum.is_cuda
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state() if on_cuda else None,
        "progress": {name: getattr(progress, name) for name in TrainingProgress.__slots__},
    }


def restore(
    state: Mapping[str, Any] | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingProgress:
    """Load a state into the model, the optimizer and the random number generators, and return the progress.

    Args:
        state: a state made by `state_of`; None at the start of a training, when nothing is loaded.
        model: the model to load the weights into.
        optimizer: the optimizer to load its state into.
    """
    if state is None:
        return TrainingProgress()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random_cuda"])
    return TrainingProgress(**state["progress"])
