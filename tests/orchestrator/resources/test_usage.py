"""What the trials of a sweep are measured to use."""

from __future__ import annotations

from sweeper.orchestrator.resources.usage import measured_peak_mb
from sweeper.record.events import Event, Exit, Launched, Measured
from sweeper.record.trial import TrialRecord
from tests.record.trials import trial_of


def trial(peak_mb: float, code: int | None) -> TrialRecord:
    control: list[Event] = [Launched(attempt=1, slot="gpu 0"), Measured(attempt=1, device_peak_mb=peak_mb)]
    ended = Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1)
    return trial_of(control, exits=[ended])


def test_the_peak_is_the_highest_of_attempts_that_ended_with_code_0() -> None:
    assert measured_peak_mb([]) == 0
    assert measured_peak_mb([trial(10, 0), trial(12, 0), trial(50, 1), trial(60, None)]) == 12
