"""Values that rest: made anew for a new key, at once or after a while."""

from __future__ import annotations

import pytest

from sweeper.results.rested import Rested


def test_a_value_is_made_once_for_a_key_and_rests_only_if_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    value, now = Rested[int](), [100.0]
    monkeypatch.setattr("sweeper.results.rested.monotonic", lambda: now[0])

    def take(seconds: float, result: int) -> int:
        now[0] += seconds
        return result

    assert value.of("a", lambda: take(2.0, 1), rests=True) == 1
    assert value.of("a", lambda: take(2.0, 0), rests=False) == 1
    assert value.of("b", lambda: take(2.0, 2), rests=True) == 1  # it took two seconds, so it rests for forty
    assert not value.is_due
    now[0] += 41.0
    assert value.is_due
    assert value.of("b", lambda: take(2.0, 2), rests=True) == 2
    assert not value.is_due
    assert value.of("c", lambda: take(2.0, 3), rests=False) == 3
