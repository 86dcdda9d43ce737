"""The key `on_spike` of a sweep file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sweeper.config import SweepSpec
from sweeper.config.check.changes import changes_between
from sweeper.errors import SpecError
from sweeper.record.on_spike import OnSpike
from sweeper.rules.conditions import Spike
from sweeper.rules.settings import PRESET

Load = Callable[..., SweepSpec]


def test_the_default_records_and_false_looks_for_no_spikes(load_keys: Load) -> None:
    assert load_keys().on_spike is OnSpike.RECORD
    assert load_keys(on_spike=False).on_spike is OnSpike.OFF


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, (Spike(),)),
        ("auto", (*PRESET, Spike())),
        ({"rules": [{"spike": {"above": 20.0}}]}, (Spike(above=20.0),)),
        ({"mode": "observe", "rules": []}, (Spike(),)),
    ],
)
def test_rewind_adds_the_rule_that_stops_the_trial(load_keys: Load, given: Any, expected: tuple[Any, ...]) -> None:
    spec = load_keys(on_spike="rewind", early_stop=given)
    assert spec.early_stop is not None
    assert spec.early_stop.rules == expected
    assert SweepSpec.from_json(spec.to_json()) == spec
    assert load_keys(on_spike="skip", early_stop=given) != spec


def test_another_word_is_refused(load_keys: Load) -> None:
    with pytest.raises(SpecError, match="on_spike"):
        load_keys(on_spike="jump")


def test_a_change_would_make_trials_different(load_keys: Load) -> None:
    changes = changes_between(load_keys(), load_keys(on_spike="skip"))
    assert changes.conflicts == ("on_spike: 'skip' instead of 'record'",)
