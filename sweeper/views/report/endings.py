"""The trials of the report that were stopped early, that failed, or that were flagged but continued."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.events import AUDITED
from sweeper.record.trial import State, TrialRecord
from sweeper.results.health.advice import advice
from sweeper.results.receipt import end_line
from sweeper.results.snapshot import SweepView, params_of, steps_after_decision, steps_saved
from sweeper.results.wording import counted, plain, why_continued

MOST_LISTED = 12
"""Maximum number of endings that are listed one by one; more are summarised per rule, and listed on request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one trial ended, and advice from its siblings."""

    number: str
    state: str
    params: str
    line: str
    advice: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """All endings; `groups` has a line per rule if there are more than `MOST_LISTED`."""

    listed: Sequence[Ending]
    groups: Sequence[str]

    @property
    def are_many(self) -> bool:
        """Return whether the endings are listed only on request."""
        return len(self.listed) > MOST_LISTED


def endings_of(sweep: SweepView, order: Sequence[TrialRecord]) -> Endings:
    """Return the endings of the trials that were pruned, that failed, or that were flagged but continued.

    Args:
        order: all trials of the sweep, in the order of the report.
    """
    trials = [trial for trial in order if trial.state in (State.PRUNED, State.FAIL) or trial.continued is not None]
    many = len(trials) > MOST_LISTED
    return Endings(
        listed=[_ending(trial, () if many else sweep.trials) for trial in trials],
        groups=_groups(trials) if many else [],
    )


def _ending(trial: TrialRecord, siblings: Sequence[TrialRecord]) -> Ending:
    continued = trial.continued
    if continued is not None and trial.state is not State.PRUNED:
        decision, after = continued.decision, counted(steps_after_decision(trial), "more step", "more steps")
        flagged = f"flagged by {decision.rule} at step {decision.step}, but continued for {after}"
        line = plain(f"{flagged} ({why_continued(continued.cause)}): {decision.reason}. Result: {end_line(trial)}")
    else:
        saved = steps_saved(trial)
        line = end_line(trial)
        line = f"{line.removesuffix('.')}; {counted(saved, 'step', 'steps')} saved" if saved else line
    return Ending(
        number=f"{trial.facts.number:04d}",
        state=trial.state.value.lower(),
        params=params_of(trial),
        line=line,
        advice=advice(trial, siblings) if siblings else (),
    )


def _groups(trials: Sequence[TrialRecord]) -> list[str]:
    """Return a line for each rule that stopped trials, one for continued trials, and one for failures."""
    lines = []
    by_rule: dict[str, list[TrialRecord]] = {}
    for trial in trials:
        if trial.state is State.PRUNED:
            by_rule.setdefault(_rule(trial), []).append(trial)
    for rule, stopped in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        steps = sorted(trial.progress.step for trial in stopped)
        when = f"at steps {steps[0]} to {steps[-1]} (median {statistics.median_low(steps)})"
        when = when if steps[0] < steps[-1] else f"at step {steps[0]}"
        saved = sum(map(steps_saved, stopped))
        lines.append(plain(f"{rule} stopped {counted(len(stopped), 'trial', 'trials')} {when}: {saved:,} steps saved"))
    continued = [trial.continued for trial in trials if trial.continued is not None]
    if continued:
        audited = sum(decision.cause == AUDITED for decision in continued)
        which = counted(len(continued), "flagged trial was", "flagged trials were")
        lines.append(f"{which} continued, {audited} of them for the audit")
    causes = Counter(trial.newest.cause or "unknown" for trial in trials if trial.state is State.FAIL)
    if causes:
        each = ", ".join(f"{plain(cause)} ({count})" for cause, count in causes.items())
        lines.append(f"{counted(causes.total(), 'trial', 'trials')} failed: {each}")
    return lines


def _rule(trial: TrialRecord) -> str:
    stop = trial.newest.stop
    return stop.decision.rule if stop is not None and stop.decision is not None else "a rule"
