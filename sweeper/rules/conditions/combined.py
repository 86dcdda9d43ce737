"""Conditions made of conditions: all of them hold, or any of them does."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.record.events import Event
from sweeper.rules.base import Condition, Explanation, Finding

CombinedState = tuple[tuple[Any, Finding | None], ...]
"""The state of each condition, and its last finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Combined:
    """Several conditions, of which all have to hold, or any. A finding counts until the next one of its condition."""

    conditions: tuple[Condition, ...]
    needs_all: bool
    name: str

    def start(self) -> CombinedState:
        """Return the state before the first event."""
        return tuple((condition.start(), None) for condition in self.conditions)

    def step(self, state: CombinedState, event: Event) -> tuple[CombinedState, Finding | None]:
        """Return the state after the event, and the finding if at least one condition has a new one."""
        after, latest = [], None
        for condition, (inner, last) in zip(self.conditions, state, strict=True):
            stepped, finding = condition.step(inner, event)
            after.append((stepped, finding or last))
            latest = finding or latest
        if latest is None:
            return tuple(after), None
        findings = [finding for _, finding in after if finding is not None]
        holding = [finding for finding in findings if finding.holds]
        holds = len(holding) == len(self.conditions) if self.needs_all else bool(holding)
        reason = functools.partial(self._explain, holding or findings)
        return tuple(after), Finding(step=latest.step, holds=holds, reason=reason)

    def _explain(self, findings: Sequence[Finding]) -> Explanation:
        explanations = [finding.reason() for finding in findings]
        joint = ", and " if self.needs_all else "; also, "
        return joint.join(text for text, _ in explanations), _merged([evidence for _, evidence in explanations])


def all_of(conditions: Sequence[Condition], name: str = "all") -> Combined:
    """Return the condition that holds if all of the conditions do; one without a finding so far does not hold."""
    return Combined(conditions=tuple(conditions), needs_all=True, name=name)


def any_of(conditions: Sequence[Condition], name: str = "any") -> Combined:
    """Return the condition that holds if any of the conditions does."""
    return Combined(conditions=tuple(conditions), needs_all=False, name=name)


def _merged(evidences: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Return all evidence under one another: a key that is taken gets its statistic as a prefix."""
    merged: dict[str, object] = {}
    for evidence in evidences:
        statistic = evidence.get("statistic", "")
        for name, value in evidence.items():
            merged[name if name not in merged else f"{statistic}: {name}"] = value
    return merged
