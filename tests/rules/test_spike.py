"""The rule `spike`: it stops a trial only if the sweep wants to rewind it."""

from __future__ import annotations

import math

import pytest

from sweeper.config import EarlyStop
from sweeper.record.events import Spiked
from sweeper.rules import first_decision, rule_of
from sweeper.rules.conditions import Spike


def spike(*, action: str = "rewind", z: float = 40.0, step: int = 7) -> Spiked:
    return Spiked(step=step, name="loss/train", value=5.0, centre=1.0, scale=0.1, z=z, action=action)


def test_a_spike_to_be_rewound_stops_the_trial_with_its_values_as_evidence() -> None:
    decision = first_decision(rule_of(Spike()), [spike()])
    assert decision is not None
    assert (decision.rule, decision.step) == ("spike", 7)
    assert decision.reason == "loss/train was 5 at step 7, 40 sigma above 1"
    assert decision.evidence["z"] == 40.0
    assert decision.evidence["threshold"] == 6.0


@pytest.mark.parametrize("action", ["record", "skip"])
def test_other_spikes_stop_nothing(action: str) -> None:
    assert first_decision(rule_of(Spike()), [spike(action=action)]) is None


def test_the_threshold_can_be_raised() -> None:
    rule = rule_of(Spike(above=50.0))
    assert first_decision(rule, [spike()]) is None
    assert first_decision(rule, [spike(), spike(z=51.0, step=9)]) is not None
    decision = first_decision(rule, [spike(z=math.inf)])
    assert decision is not None
    assert decision.reason == "loss/train was 5 at step 7"


def test_the_rule_is_in_the_language_of_sweep_files() -> None:
    rules = EarlyStop.model_validate({"rules": [{"spike": {"above": 9.0}}]}).rules
    assert rules == (Spike(above=9.0),)
