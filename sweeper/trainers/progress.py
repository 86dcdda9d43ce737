"""How far a training is: everything that changes from step to step, as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


def _zero() -> torch.Tensor:
    return torch.zeros((), dtype=torch.float64)


@dataclass(slots=True, kw_only=True)
class TrainingProgress:
    """Where the loop is, and its running sums; sums stay on the device, so that no step waits for them.

    Attributes:
        next_step: the step to do next, from 0.
        best_accuracy: the highest test accuracy so far, 0..1; -1 before the first evaluation.
        loss_sum, loss_steps: over the steps since the last reported loss.
        prior_sum: over the same steps, the loss of who knows the classes' shares and nothing else.
        correct, seen: training examples since the last evaluation.
    """

    next_step: int = 0
    best_accuracy: float = -1.0
    loss_sum: torch.Tensor = field(default_factory=_zero)
    prior_sum: torch.Tensor = field(default_factory=_zero)
    loss_steps: int = 0
    correct: torch.Tensor = field(default_factory=_zero)
    seen: int = 0

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, surprise: torch.Tensor) -> None:
        """Count a step; `surprise` is the loss of each label under the classes' shares, shape (classes,)."""
        self.next_step += 1
        self.loss_sum = self.loss_sum.to(loss.device) + loss.detach()
        self.prior_sum = self.prior_sum.to(loss.device) + surprise[labels].mean()
        self.loss_steps += 1
        self.correct = self.correct.to(loss.device) + (logits.detach().argmax(dim=-1) == labels).sum()
        self.seen += len(labels)

    def take_loss(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss since it was last taken, and that of the classes' shares on the same examples."""
        means = self.loss_sum / self.loss_steps, self.prior_sum / self.loss_steps
        self.loss_sum, self.prior_sum = torch.zeros_like(self.loss_sum), torch.zeros_like(self.prior_sum)
        self.loss_steps = 0
        return means

    def take_accuracy(self) -> torch.Tensor:
        """The part of the training examples that were classified rightly, with dropout on, since it was last taken."""
        part = self.correct / self.seen
        self.correct, self.seen = torch.zeros_like(self.correct), 0
        return part


def state_of(progress: TrainingProgress, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """All of a training's state, random numbers included."""
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
    """Put a state back into the model, the optimizer and the random number generators; no state is a start."""
    if state is None:
        return TrainingProgress()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["random_cuda"])
    return TrainingProgress(**state["progress"])
