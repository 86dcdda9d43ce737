"""Tasks of the zoo: small trainings with known outcomes, and the arms that run them.

A task is one problem with one way to score it. Its arms are settings: good ones, which learn, and ones that are made
to fail in different ways. `truth.py` judges a run by its score, and not by the purpose of its arm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

Settings = Mapping[str, Any]
"""The settings of an arm; a task says which it reads and what their defaults are."""
Logged = Mapping[str, "float | torch.Tensor"]
"""What a script logs: a name and a scalar."""

SCORE = "score/test"
"""The metric that decides the outcome; higher is better."""

CLASSES = frozenset(
    {
        "non_finite",
        "no_gradient",
        "vanishing_gradient",
        "dead_units",
        "frozen",
        "diverged",
        "collapsed",
        "stuck",
        "oscillating",
        "saturated",
        "overfitting",
        "unused_parameters",
        "loss_mismatch",
        "input_scale",
        "over_regularised",
        "symmetric",
    }
)
"""The diagnosis classes that an arm may expect."""
MOST_EXPECTED = 3


@dataclass(frozen=True)
class Arm:
    """One setting of a task.

    Attributes:
        name: unique in its task.
        settings: what differs from the task's defaults.
        fails: whether the arm was made to fail.
        expected: the diagnosis classes that are right for this failure, at most three; empty for a good arm.
        border: the arm is near the border of learning, and is left out of both counts.
    """

    name: str
    settings: Settings
    fails: bool
    expected: tuple[str, ...] = ()
    border: bool = False

    def __post_init__(self) -> None:
        """Check the expected classes.

        Raises:
            ValueError: a class is unknown, there are too many, or there are some on an arm that is not to fail.
        """
        unknown = set(self.expected) - CLASSES
        if unknown:
            raise ValueError(f"arm {self.name}: unknown classes {sorted(unknown)}")
        if len(self.expected) > MOST_EXPECTED:
            raise ValueError(f"arm {self.name}: expected at most {MOST_EXPECTED} classes, got {len(self.expected)}")
        if self.fails != bool(self.expected) and not self.border:
            raise ValueError(f"arm {self.name}: an arm that fails names its classes, and a good arm names none")


@dataclass(frozen=True)
class Training:
    """A training that is ready to start.

    Attributes:
        model: everything that is trained; several models are in one `ModuleList` or `ModuleDict`.
        optimizers: the optimizers that update the model.
        step: does optimizer step `i`, counted from 0, with its schedule; returns what the script logs.
        evaluate: returns `score/test` and what the script logs at an evaluation.
        peak_lr: the highest learning rate of the schedule, if the script would know it.
        resume: does what the steps before step `i` did to the shape of the optimizers, before their state is loaded.
    """

    model: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    step: Callable[[int], Logged]
    evaluate: Callable[[], Mapping[str, float]]
    peak_lr: float | None = None
    resume: Callable[[int], None] | None = None


@dataclass(frozen=True)
class Task:
    """A problem and its arms.

    Attributes:
        name: unique in the zoo.
        steps: optimizer steps of a run.
        baseline: the score of a trivial predictor, such as one that always names the most frequent class.
        build: makes the training of an arm's settings from a seed; the same seed gives the same run.
        arms: the settings to run.
        evaluate_every: optimizer steps between two evaluations.
        report_every: optimizer steps between two reports of what `step` returns.
    """

    name: str
    steps: int
    baseline: float
    build: Callable[[Settings, int], Training]
    arms: Sequence[Arm] = field(default_factory=tuple)
    evaluate_every: int = 50
    report_every: int = 1

    def __post_init__(self) -> None:
        """Check that arms have different names.

        Raises:
            ValueError: two arms have one name.
        """
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError(f"task {self.name}: two arms have the same name")

    def arm(self, name: str) -> Arm:
        """Return the arm with this name.

        Raises:
            KeyError: there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise KeyError(f"task {self.name} has no arm {name}")
