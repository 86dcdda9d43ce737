"""Hold a sweep if its first trials cannot run at all, instead of starting and failing every one of them.

A program that is not there, an import that fails and a wrong usage of the command are mostly not the fault of one
trial's values. So if the first trials of a call end so within seconds, and none has made a step, the others are held.
What the values contribute is tried out: one trial at a time is started that differs where the failed ones agree. As
soon as a trial works, all others are started. The next call of `sweeper run` begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.record.causes import Cause
from sweeper.record.trial import State, TrialRecord
from sweeper.record.values.params import spelled

SOON_S = 60.0
"""A trial that runs for so many seconds works, whatever it does later: a wrong start shows within that time."""

USAGE = 2
"""The exit code of argparse, click, typer, fire and Python for a wrong usage."""

_SETUP_ERRORS = re.compile(
    r"\b(ModuleNotFoundError|ImportError|SyntaxError|IndentationError)\b"
    r"|unrecognized arguments|[Nn]o such option|Unknown command line flag|Could not override|Could not consume arg"
    r"|are required|No such file or directory: '[^']*\.py'"
)


@dataclass(slots=True)
class Caution:
    """What the trials that were launched in this call show about whether the sweep can run at all.

    Args:
        began: when this call began, in seconds since the epoch.
        ended_with: returns the last lines that a failed trial printed or reported.
    """

    began: float
    ended_with: Callable[[TrialRecord], str]
    _works: bool = False
    _failed: dict[int, TrialRecord] = field(default_factory=dict)
    _steps: dict[tuple[int, int], int] = field(default_factory=dict)

    def update(self, changed: Iterable[TrialRecord], now: float) -> None:
        """Take in the trials that have changed, at `now` in seconds since the epoch."""
        for trial in () if self._works else changed:
            if not trial.newest.launch_time >= self.began:  # also NaN
                continue
            if self._moves(trial) or trial.state is State.COMPLETE or trial.newest.seconds(now) >= SOON_S:
                self._works = True
            elif self._is_setup_failure(trial):
                self._failed[trial.facts.number] = trial

    def _moves(self, trial: TrialRecord) -> bool:
        """Return whether the newest attempt has made a step; those of earlier attempts say nothing about this start."""
        attempt = (trial.facts.number, trial.newest.number)
        first = self._steps.setdefault(attempt, trial.step if len(trial.attempts) > 1 else -1)
        return trial.step != first

    @property
    def failed(self) -> Sequence[TrialRecord]:
        """The trials for which the others are held, in the order of their ends; none if a trial works."""
        return [] if self._works else list(self._failed.values())

    def held(self, waiting: Sequence[TrialRecord], running: Sequence[TrialRecord]) -> AbstractSet[int]:
        """Return the numbers of the waiting trials that are held: all but the one that is tried out now."""
        if not self.failed:
            return frozenset()
        tried = None if running else self._to_try(waiting)
        return {trial.facts.number for trial in waiting if trial is not tried}

    def may_propose(self, running: Sequence[TrialRecord]) -> bool:
        """Return whether the search may propose a further trial: one more after the first failure, then none."""
        return len(self.failed) < 2 and not (self.failed and running)  # noqa: PLR2004 - the first and one more

    def text(self, waiting: int) -> str:
        """Return why nothing more is started; an empty string if that is not so."""
        failed = self.failed
        if not failed:
            return ""
        names = ", ".join(f"{trial.facts.number:04d}" for trial in failed)
        others = f"{waiting} waiting {'trial is' if waiting == 1 else 'trials are'} not started" if waiting else ""
        held = others or "no more trials are started"
        end = self.ended_with(failed[-1])
        return (
            f"Held: {names} failed at the start, and no trial has run: {end}. So {held}; "
            "fix the cause and call `sweeper run` again"
        )

    def _to_try(self, waiting: Sequence[TrialRecord]) -> TrialRecord | None:
        """Return the waiting trial that has the most other values where all failed ones agree; None if none has."""
        agreed = self._agreed()

        def differing(trial: TrialRecord) -> int:
            return sum(_values(trial).get(name) != value for name, value in agreed.items())

        best = max((trial for trial in waiting if trial.facts.number not in self._failed), key=differing, default=None)
        return best if best is not None and differing(best) else None

    def _agreed(self) -> dict[str, str]:
        first, *others = map(_values, self._failed.values())
        return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}

    def _is_setup_failure(self, trial: TrialRecord) -> bool:
        newest = trial.newest
        if newest.exit is None or newest.stop is not None:
            return False
        if newest.cause == Cause.NOT_FOUND:
            return True
        if newest.cause != Cause.ERROR:
            return False
        return newest.exit.code == USAGE or bool(_SETUP_ERRORS.search(self.ended_with(trial)))


def _values(trial: TrialRecord) -> dict[str, str]:
    """Return the varied values of a trial, spelled; what a seed is cannot prevent a start."""
    return {name: spelled(value) for name, value in trial.facts.shown.items()}
