"""What a rule decides, and what a rule is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from sweeper.record.decision import Decision
from sweeper.record.events import Event


class Rule(Protocol):
    """A reducer over one trial's history. It does no I/O and reads no clock: live and replayed verdicts are equal.

    A rule's state is its own affair; nobody else looks into it.
    """

    @property
    def name(self) -> str:
        """The rule's name in a sweep file."""

    def start(self) -> Any:  # noqa: ANN401 - each rule has a state of its own
        """The state before the first event."""

    def step(self, state: Any, event: Event) -> tuple[Any, Decision | None]:  # noqa: ANN401 - as above
        """The state after one more event, and the decision it leads to; None means: go on."""


def first_decision(rule: Rule, history: Iterable[Event]) -> Decision | None:
    """What a rule decides on a recorded history: its first decision, None where it lets the trial run."""
    state = rule.start()
    for event in history:
        state, decision = rule.step(state, event)
        if decision is not None:
            return decision
    return None
