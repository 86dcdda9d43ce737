"""In which order trials are started: by number, but for those that a person wants first; a fold over `log.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.record.events import Event, Preferred


def preferred(log: Iterable[Event]) -> tuple[int, ...]:
    """The numbers of the trials that come before all others, in their order: who was asked for last comes first."""
    order: tuple[int, ...] = ()
    for event in log:
        if isinstance(event, Preferred):
            order = (*dict.fromkeys(event.trials), *(number for number in order if number not in event.trials))
    return order


def queued(numbers: Iterable[int], order: tuple[int, ...]) -> list[int]:
    """The numbers in the order in which they are started, `order` being that of `preferred`."""
    rank = {number: place for place, number in enumerate(order)}
    return sorted(numbers, key=lambda number: (rank.get(number, len(rank)), number))
