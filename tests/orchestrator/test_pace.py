"""Work that costs more in a larger sweep takes a bounded share of the time."""

from __future__ import annotations

from sweeper.orchestrator.pace import Pace


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def took(pace: Pace, clock: Clock, seconds: float) -> None:
    with pace.measure():
        clock.now += seconds


def test_work_that_took_long_waits_ten_times_as_long() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    assert pace.is_due()
    took(pace, clock, 2.0)
    clock.now += 19.9
    assert not pace.is_due()
    clock.now += 0.2
    assert pace.is_due()


def test_short_work_waits_for_its_interval_unless_it_is_made_due() -> None:
    clock = Clock()
    pace = Pace(every_s=5.0, clock=clock)
    took(pace, clock, 0.0)
    clock.now += 4.9
    assert not pace.is_due()
    pace.make_due()
    assert pace.is_due()
