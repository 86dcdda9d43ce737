"""The sentences of the page: how a sweep stands, in words; pure functions over answers of the service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sweeper.results import captions
from sweeper.results.health.trial_health import FAILED, OK, UNKNOWN, short_name
from sweeper.results.wording import counted, duration, number
from sweeper.service.answers.sweep import Sweep
from sweeper.service.budget import holding

STATES: Mapping[str, str] = {
    **{state.value: word for state, word in captions.STATES.items()},
    "STOPPED": "not finished",
    "UNREADABLE": "cannot be read",
}
"""Each state of a trial or a sweep in words."""
ORDER = ("COMPLETE", "PRUNED", "FAIL", "RUNNING", "PAUSED", "WAITING")
"""States of trials in the order in which they are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """How many trials have one health.

    Attributes:
        name: it in one or two words.
        count: the number of trials.
        begins: how the cell `health` of these trials begins; empty if no filter finds them by it.
        tone: `good`, `bad` or `plain`.
    """

    name: str
    count: int
    begins: str
    tone: str


def headline(sweep: Sweep) -> str:
    """Return how a sweep stands, in one sentence."""
    ended = sum(sweep.counts.get(state, 0) for state in ("COMPLETE", "PRUNED", "FAIL"))
    if not sweep.total:
        return "No trial has started yet." if sweep.state in ("RUNNING", "PAUSED") else "This run has no trials."
    trials = f"{sweep.total:,} {'trial' if sweep.total == 1 else 'trials'}"
    match sweep.state:
        case "RUNNING":
            left = f"; about {duration(sweep.seconds_left)} left" if sweep.seconds_left is not None else ""
            return f"Running: {ended:,} of {trials} have ended{left}."
        case "PAUSED":
            return f"Paused: {ended:,} of {trials} have ended."
        case "STOPPED" if keys := holding(sweep):
            more = " ".join(f"{key}=VALUE" for key in keys)
            text = (
                f"{ended:,} of {trials} have ended. To run the rest, change what is reached: `sweeper run FILE {more}`."
            )
            return f"{'Target reached' if 'metric.target' in keys else 'Budget spent'}: {text}"
        case "STOPPED":
            return f"Interrupted: {ended:,} of {trials} have ended. `sweeper run` resumes the sweep."
        case "FAIL":
            return f"Ended with failures: {_counted(sweep, 'FAIL')} of {trials} failed."
    return f"Finished: {_counted(sweep, 'COMPLETE')} of {trials} completed."


def outcome(sweep: Sweep) -> str:
    """Return what became of the trials, in one sentence; empty if nothing did."""
    parts = [
        f"{count:,} {STATES[state]}" for state in ORDER if (count := sweep.counts.get(state, 0)) and state != "WAITING"
    ]
    return f"{', '.join(parts)}." if parts else ""


def best_line(sweep: Sweep) -> str:
    """Return the value of the best trial in words; empty without one."""
    if sweep.best is None:
        return ""
    if len(sweep.objectives) > 1:
        values = ", ".join(f"{name} {number(value)}" for name, value in sweep.best.values.items())
        return f"{counted(len(sweep.front), 'trial', 'trials')} on the Pareto front, one of them with {values}"
    return f"{sweep.metric} {number(sweep.best.value)}"


def classes(sweep: Sweep) -> list[Class]:
    """Return how many trials have each health, from the sentence of the service."""
    found = []
    for part in filter(None, sweep.health.split(", ")):
        count, _, name = part.partition(" ")
        if count.isdigit():
            unknown = name == "unknown"
            begins = "" if name == FAILED else UNKNOWN if unknown else short_name(name)
            tone = "good" if name == OK else "plain" if unknown else "bad"
            found.append(
                Class(name="not observed" if unknown else short_name(name), count=int(count), begins=begins, tone=tone)
            )
    return found


def _counted(sweep: Sweep, state: str) -> str:
    return f"{sweep.counts.get(state, 0):,}"
