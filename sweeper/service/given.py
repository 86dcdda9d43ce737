"""What people and agents asked of a sweep, as answers; pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.record.events import Event
from sweeper.results.asked import given
from sweeper.service.answers.sweep import GivenCommand

MOST = 50
"""The newest commands of a sweep that its answer has."""


def commands_of(log: Iterable[Event], number: int | None = None) -> list[GivenCommand]:
    """Return the newest commands of a sweep, or all that were for one trial, oldest first."""
    found = given(log, number)
    return [
        GivenCommand(
            do=event.do,
            trials=event.trials,
            time=event.time,
            by=event.by,
            because=event.because,
            params=event.params,
        )
        for event in (found[-MOST:] if number is None else found)
    ]
