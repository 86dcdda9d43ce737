"""Early-stop rules: pure reducers over a trial's history, whose decisions carry their evidence."""

from __future__ import annotations

from sweeper.rules.decision import Decision, Rule, first_decision
from sweeper.rules.stalled import Stalled
from sweeper.spec import EarlyStop

__all__ = ["Decision", "Rule", "Stalled", "first_decision", "rules_of"]


def rules_of(early_stop: EarlyStop | None) -> list[Rule]:
    """The rules that a sweep file names; none where it has no `early_stop`."""
    if early_stop is None:
        return []
    return [Stalled(below=rule.below, window=rule.window, grace_steps=rule.grace_steps) for rule in early_stop.rules]
