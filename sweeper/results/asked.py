"""What people and agents asked of a sweep, by its `log.jsonl`, in words; pure functions."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sweeper.record.events import CommandGiven, Event
from sweeper.results.wording import plain


def given(log: Iterable[Event], number: int | None = None) -> list[CommandGiven]:
    """Return the commands in a log, oldest first; with a number, those that were for this trial."""
    found = [event for event in log if isinstance(event, CommandGiven)]
    return found if number is None else [event for event in found if number in event.trials]


def asked_lines(log: Iterable[Event], number: int) -> list[str]:
    """Return who asked what of a trial, and why, for its receipt; empty if no command was for it."""
    lines = [f"  {asked_text(event)}" for event in given(log, number)]
    return ["", "commands:", *lines] if lines else []


def asked_text(event: CommandGiven) -> str:
    """Return a command with its time, its author and its reason: ``2026-01-31 12:00 pause by ada on gpu1: a demo``."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(event.time))
    by = f" by {event.by}" if event.by else ""
    because = f": {event.because}" if event.because else ""
    return plain(f"{moment} {event.do}{by}{because}")
