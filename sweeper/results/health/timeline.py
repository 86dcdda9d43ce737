"""The timeline of a trial's health, line by line: which diagnosis began or ended when, why, and what to do; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.events import Diagnosed
from sweeper.record.trial import Trial
from sweeper.results.health.advice import by_learning_rate
from sweeper.results.health.trial_health import effect_of
from sweeper.results.markdown import table
from sweeper.results.wording import counted, plain
from sweeper.rules.diagnoses import DIAGNOSES

MOST_CHANGES = 40
"""Changes that are shown of a trial whose health changes often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One change; `advice` is what to do about a diagnosis that holds now, empty for every other."""

    when: str
    text: str
    effect: str = ""
    advice: Sequence[str] = ()


def timeline(trial: Trial, siblings: Sequence[Trial] = ()) -> list[Line]:
    """Return the changes of a trial's health, oldest first; of many, the newest and those that hold now.

    Args:
        siblings: the other trials of the sweep; what they did with other learning rates is part of the advice.
    """
    changes, now = trial.control.diagnosed, trial.control.health
    shown = [
        event
        for place, event in enumerate(changes)
        if place >= len(changes) - MOST_CHANGES or now.get(event.diagnosis) is event
    ]
    left_out = len(changes) - len(shown)
    lines = [
        Line(
            when=_when(event),
            text=_text(event),
            effect=effect.value if (effect := effect_of(event.diagnosis)) is not None else "",
            advice=_advice(trial, siblings, event.diagnosis) if now.get(event.diagnosis) is event else (),
        )
        for event in shown
    ]
    earlier = Line(when="earlier", text=f"{counted(left_out, 'change is', 'changes are')} not shown")
    return [earlier, *lines] if left_out else lines


def timeline_markdown(trial: Trial) -> str:
    """Return the timeline as a table for TensorBoard."""
    rows = [(line.when, " ".join([line.text, *line.advice])) for line in timeline(trial)]
    return table(("steps", "diagnosis"), rows)


def _when(event: Diagnosed) -> str:
    if not event.holds:
        return f"at {event.step}"
    return f"since {event.since}" + (f", found at {event.step}" if event.step != event.since else "")


def _text(event: Diagnosed) -> str:
    name = plain(event.diagnosis)
    return plain(f"{name}: {event.reason}") if event.holds else f"{name} no longer holds"


def _advice(trial: Trial, siblings: Sequence[Trial], diagnosis: str) -> list[str]:
    if diagnosis not in DIAGNOSES:
        return []
    advice = DIAGNOSES[diagnosis].advice
    return [f"advice: {advice}", *by_learning_rate(trial, siblings, advice)]
