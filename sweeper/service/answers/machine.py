"""Answers about what is not recorded yet: this machine, a sweep file, its plan; and what became of a command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.service.answers import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check of this machine.

    Attributes:
        level: `ok`, `note` or `trouble`.
        subject: what was checked.
        text: what was found.
        advice: what to do; empty if there is nothing to do.
    """

    level: str
    subject: str
    text: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor(Answer):
    """Whether this machine is ready for a sweep: `sweeper doctor --json`.

    Attributes:
        ready: whether no check found trouble.
        findings: the result of each check.
    """

    ready: bool
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMistake:
    """One mistake in a sweep file.

    Attributes:
        where: its place, such as `sweep.yaml:7`.
        key: the path of the key, such as `parameters.lr.max`; empty if it concerns the whole place.
        expected: what was expected there.
        got: what was found.
        hint: what to do; empty if `expected` makes it obvious.
        text: all of that in one sentence.
    """

    where: str
    key: str
    expected: str
    got: str
    hint: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Answer):
    """Whether a sweep file is right: `sweeper check --json`.

    Attributes:
        file: the file.
        valid: whether it has no mistakes.
        mistakes: all mistakes.
        warnings: what may be wrong.
        name: the name of the run; empty with mistakes.
        profile: the profile; null if there is none.
        size: the size of the sweep in words; empty with mistakes.
        trials: the maximum number of trials; null if it is not limited, or not known.
        notes: what the search starts with, and where metrics are read.
    """

    file: str
    valid: bool
    mistakes: Sequence[FileMistake]
    warnings: Sequence[str]
    name: str
    profile: str | None
    size: str
    trials: int | None
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Answer):
    """What a sweep file would run: `sweeper plan --json`.

    Attributes:
        file: the file.
        name: the name of the run.
        summary: the lines that `sweeper plan` prints about trials and arms.
        notes: what the search starts with, and what it learns from other runs.
        warnings: what may be wrong.
        trials: the maximum number of trials; null if it is not limited.
        concurrent: how many trials run at the same time; null if only the cluster knows.
        slots: where trials run, in words.
        time: an estimate of the time, with its source.
        disk: an estimate of the disk space, with its source.
    """

    file: str
    name: str
    summary: Sequence[str]
    notes: Sequence[str]
    warnings: Sequence[str]
    trials: int | None
    concurrent: int | None
    slots: str
    time: str
    disk: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent(Answer):
    """A command that was handed over.

    Attributes:
        run: the directory of the run.
        command: `stop`, `pause`, `resume`, `revive`, `exempt`, `first`, `add` or `derive`.
        numbers: the trials that it is for; empty for the whole sweep.
        by: who asked.
        because: why; empty if no reason was given.
        running: whether a process runs the sweep now. If not, the next `sweeper run` carries the command out.
        text: what happens next, in one sentence.
        warnings: what may be wrong.
    """

    run: str
    command: str
    numbers: Sequence[int]
    by: str
    because: str
    running: bool
    text: str
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Answer):
    """A sweep that was started as a process of its own.

    Attributes:
        run: the directory of the run.
        name: its name.
        pid: the process that runs it.
        log: the file with what that process prints.
        by: who asked.
        because: why; empty if no reason was given.
        text: what happens next, in one sentence.
    """

    run: str
    name: str
    pid: int
    log: str
    by: str
    because: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited(Answer):
    """What `sweeper wait` waited for.

    Attributes:
        run: the directory of the run.
        event: what was waited for: `end`, `flag`, `trial:7` or `step:7:500`.
        outcome: `happened`, `timeout`, or `never` if it cannot happen any more.
        happened: whether it happened.
        text: what happened, in one sentence.
        seconds: how long it took.
    """

    run: str
    event: str
    outcome: str
    happened: bool
    text: str
    seconds: float
