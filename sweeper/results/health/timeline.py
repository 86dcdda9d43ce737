"""The timeline of a trial's health: when each diagnosis began or ended, why, and what to do; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeper.record.events import Diagnosed
from sweeper.record.trial import TrialRecord
from sweeper.results.health.advice import by_learning_rate
from sweeper.results.health.trial_health import effect_of
from sweeper.results.wording import counted, plain
from sweeper.rules.diagnoses import DIAGNOSES

MOST_CHANGES = 40
"""Maximum number of changes shown, apart from those that hold now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One change of a trial's health.

    Args:
        when: the steps, for example ``since 110, found at 120``.
        text: the diagnosis and its reason.
        effect: what the diagnosis does: stops, warns or informs; empty if it is unknown to this version.
        advice: what to do; empty unless the diagnosis holds now.
    """

    when: str
    text: str
    effect: str = ""
    advice: Sequence[str] = ()


def timeline(trial: TrialRecord, siblings: Sequence[TrialRecord] = ()) -> list[TimelineEntry]:
    """Return the changes of a trial's health, oldest first; if there are many, the newest and those that hold now.

    Args:
        siblings: the other trials of the sweep; the advice uses their learning rates.
    """
    changes, now = trial.diagnosed, trial.health
    shown = [
        event
        for place, event in enumerate(changes)
        if place >= len(changes) - MOST_CHANGES or now.get(event.diagnosis) is event
    ]
    left_out = len(changes) - len(shown)
    lines = [
        TimelineEntry(
            when=_when(event),
            text=_text(event),
            effect=effect.value if (effect := effect_of(event.diagnosis)) is not None else "",
            advice=_advice(trial, siblings, event.diagnosis) if now.get(event.diagnosis) is event else (),
        )
        for event in shown
    ]
    earlier = TimelineEntry(when="earlier", text=f"{counted(left_out, 'change is', 'changes are')} not shown")
    return [earlier, *lines] if left_out else lines


def _when(event: Diagnosed) -> str:
    if not event.holds:
        return f"at {event.step}"
    return f"since {event.since}" + (f", found at {event.step}" if event.step != event.since else "")


def _text(event: Diagnosed) -> str:
    name = plain(event.diagnosis)
    return plain(f"{name}: {event.reason}") if event.holds else f"{name} no longer holds"


def _advice(trial: TrialRecord, siblings: Sequence[TrialRecord], diagnosis: str) -> list[str]:
    if diagnosis not in DIAGNOSES:
        return []
    advice = DIAGNOSES[diagnosis].advice
    return [f"advice: {advice}", *by_learning_rate(trial, siblings, advice)]
