"""Answers about derived trials: where a trial comes from, what came of it, and from where another one can continue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.service.answers import Answer
from sweeper.service.answers.trial import DerivedFrom


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A trial that was derived from another one.

    Attributes:
        number: its number.
        state: its state.
        value: its value; null before the first.
        derived: how it was derived.
    """

    number: int
    state: str
    value: float | None
    derived: DerivedFrom


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage(Answer):
    """Where a trial comes from, and what was derived from it.

    Attributes:
        derived: how it was derived; null if it was not.
        text: that in words, to follow "is", as in its receipt; empty if it was not derived.
        known: whether its parent is a trial of this run that can be read.
        ancestors: its parent, the parent's parent, and so on.
        children: the trials that were derived from it.
    """

    derived: DerivedFrom | None
    text: str
    known: bool
    ancestors: Sequence[int]
    children: Sequence[Child]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint of a trial.

    Attributes:
        step: the optimizer step after which it was saved.
        failing: the diagnoses that stop trials and held at that step.
    """

    step: int
    failing: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints(Answer):
    """The checkpoints from which a trial can be derived.

    Attributes:
        run: the name of the run.
        number: the trial.
        checkpoints: its checkpoints, newest first.
        newest_healthy: the step of the newest one at which nothing failed; null if there is none.
        params: the parameters of the trial, each of which can be changed.
    """

    run: str
    number: int
    checkpoints: Sequence[Checkpoint]
    newest_healthy: int | None
    params: Mapping[str, object]
