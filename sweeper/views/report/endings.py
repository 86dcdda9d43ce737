"""What was ended before its time, or condemned and let run on: by whom, when, why, and what that saved."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sweeper.record.events import AUDITED
from sweeper.record.fold import State
from sweeper.record.trial import Trial
from sweeper.results.health.advice import advice
from sweeper.results.receipt import end_line
from sweeper.results.snapshot import SweepView, params_of, steps_after, steps_spared
from sweeper.results.wording import counted, plain

MOST_LISTED = 12
"""Endings that a person reads one by one; of more, there is a line a rule, and each of them on request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A trial that did not end of itself, or was not to."""

    number: str
    state: str
    params: str
    line: str
    advice: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """All of them; `groups` has a line a rule where they are many."""

    listed: Sequence[Ending]
    groups: Sequence[str]

    @property
    def are_many(self) -> bool:
        """Whether they are shown on request alone."""
        return len(self.listed) > MOST_LISTED


def endings_of(sweep: SweepView, order: Sequence[Trial]) -> Endings:
    """The pruned, the failed and the spared of a sweep, in the order given."""
    told = [trial for trial in order if trial.state in (State.PRUNED, State.FAIL) or trial.control.spared is not None]
    many = len(told) > MOST_LISTED
    return Endings(
        listed=[_ending(trial, () if many else sweep.trials) for trial in told],
        groups=_groups(told) if many else [],
    )


def _ending(trial: Trial, siblings: Sequence[Trial]) -> Ending:
    spared = trial.control.spared
    if spared is not None and trial.state is not State.PRUNED:
        after = counted(steps_after(trial), "step", "steps")
        judged = f"condemned by {_rule(spared.decision)} at step {spared.decision.get('step', '?')} and let run on "
        line = plain(
            f"{judged}({spared.spared}), {after} more: {spared.decision.get('reason', '')}. Then: "
        ) + end_line(trial)
    else:
        saved = steps_spared(trial)
        line = end_line(trial) + (f"; {counted(saved, 'step', 'steps')} saved" if saved else "")
    return Ending(
        number=f"{trial.facts.number:04d}",
        state=trial.state.value.lower(),
        params=params_of(trial),
        line=line,
        advice=advice(trial, siblings) if siblings else (),
    )


def _groups(told: Sequence[Trial]) -> list[str]:
    """A line for each rule that ended trials, and one for those that failed or ran on."""
    lines = []
    by_rule: dict[str, list[Trial]] = {}
    for trial in told:
        if trial.state is State.PRUNED:
            by_rule.setdefault(_rule(_decision(trial)), []).append(trial)
    for rule, trials in sorted(by_rule.items(), key=lambda item: -len(item[1])):
        steps = sorted(trial.progress.step for trial in trials)
        when = f"at steps {steps[0]} to {steps[-1]}, half of them by {statistics.median_low(steps)}"
        when = when if steps[0] < steps[-1] else f"at step {steps[0]}"
        saved = sum(map(steps_spared, trials))
        lines.append(plain(f"{rule} ended {counted(len(trials), 'trial', 'trials')} {when}: {saved:,} steps saved"))
    audited = [t for t in told if t.control.spared is not None and t.control.spared.spared == AUDITED]
    ran_on = [trial for trial in told if trial.control.spared is not None]
    if ran_on:
        which = counted(len(ran_on), "condemned trial", "condemned trials")
        lines.append(f"{which} ran on, {len(audited)} of them as an audit")
    causes: dict[str, int] = {}
    for trial in told:
        if trial.state is State.FAIL:
            cause = trial.cause(trial.control.attempt) or "unknown"
            causes[cause] = causes.get(cause, 0) + 1
    if causes:
        each = ", ".join(f"{count} of {plain(cause)}" for cause, count in causes.items())
        lines.append(f"{counted(sum(causes.values()), 'trial', 'trials')} failed: {each}")
    return lines


def _decision(trial: Trial) -> Mapping[str, object]:
    stop = trial.control.stop
    return stop.decision if stop is not None and stop.decision is not None else {}


def _rule(decision: Mapping[str, object]) -> str:
    return str(decision.get("rule", "a rule"))
