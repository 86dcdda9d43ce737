"""The rule `stalled`: who is condemned, when, and who never."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.record.events import Event, Metrics, Observation
from sweeper.rules import Decision, Stalled, first_decision

RULE = Stalled(below=0.03, window=5, grace_steps=60)


def looks(values: Sequence[float], every: int = 10) -> list[Event]:
    return [
        Observation(step=i * every, row=i, reach=value, update_ratio=1e-3, learning_rate=1e-4)
        for i, value in enumerate(values)
    ]


ALIVE, GONE = 0.5, 1e-4


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([ALIVE] * 64, None),
        ([ALIVE] * 8 + [GONE] * 20, 100),  # the third look of five that is gone turns the median
        ([ALIVE] * 30 + [GONE] * 34, 320),  # late, in a run that had begun to learn
        ([GONE] * 20, 60),  # from the first look, but not before the grace period
        ([ALIVE, ALIVE, GONE] * 20, None),  # dips of a learner
        ([ALIVE] * 10 + [GONE, GONE, ALIVE] * 10, 130),  # a leaky collapse
        ([GONE] * 4 + [ALIVE] * 50, None),  # a slow start
        ([math.nan] * 64, None),  # undefined: no verdict
        ([ALIVE] * 8 + [0.0] * 20, 100),
        ([ALIVE] * 4, None),
    ],
)
def test_verdicts(values: list[float], step: int | None) -> None:
    decision = first_decision(RULE, looks(values))
    assert (decision.step if decision else None) == step


def test_a_decision_carries_its_evidence_and_says_why() -> None:
    decision = first_decision(RULE, looks([ALIVE] * 8 + [GONE] * 20))
    assert decision is not None
    assert decision.evidence["window"] == [[60, ALIVE], [70, ALIVE], [80, GONE], [90, GONE], [100, GONE]]
    assert decision.evidence["median"] == GONE
    assert decision.evidence["threshold"] == 0.03
    assert decision.evidence["at_start"] == ALIVE
    assert "no longer reaches the first layers" in decision.reason
    assert "steps 60 to 100 is 1.0e-04, below 0.03" in decision.reason


def test_a_decision_without_reason_or_evidence_is_none() -> None:
    with pytest.raises(ValueError, match="needs a reason and evidence"):
        Decision(rule="r", step=1, reason="", evidence={"a": 1})
    with pytest.raises(ValueError, match="needs a reason and evidence"):
        Decision(rule="r", step=1, reason="because", evidence={})


@given(st.lists(st.floats(min_value=0, max_value=10), max_size=40), st.integers(min_value=0, max_value=40))
def test_live_and_replayed_verdicts_are_equal(values: list[float], other: int) -> None:
    """Fed event by event, with other events between, the rule says what it says at once."""
    events = looks(values)
    events.insert(min(other, len(events)), Metrics(step=0, values={"loss": 1.0}))
    state, live = RULE.start(), None
    for event in events:
        state, decision = RULE.step(state, event)
        live = live or decision
    assert live == first_decision(RULE, looks(values))


@given(st.lists(st.floats(min_value=0.03, max_value=10), max_size=60))
def test_who_never_falls_below_is_never_condemned(values: list[float]) -> None:
    assert first_decision(RULE, looks(values)) is None
