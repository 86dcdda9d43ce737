"""The order in which trials are started: by number, after those that a person preferred. A fold over `log.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.record.events import Event, Preferred


def preferred(log: Iterable[Event]) -> tuple[int, ...]:
    """Return the numbers of the preferred trials in their order: the newest preference comes first."""
    order: tuple[int, ...] = ()
    for event in log:
        if isinstance(event, Preferred):
            order = (*dict.fromkeys(event.trials), *(number for number in order if number not in event.trials))
    return order


def queued(numbers: Iterable[int], order: tuple[int, ...]) -> list[int]:
    """Return the numbers in the order in which they are started; `order` is the result of `preferred`."""
    rank = {number: place for place, number in enumerate(order)}
    return sorted(numbers, key=lambda number: (rank.get(number, len(rank)), number))
