"""Which slots come first, and what a trial was measured to take."""

from __future__ import annotations

from pathlib import Path

from sweeper.executors.executor import Slot
from sweeper.orchestrator.resources.quarantine import Ends, Slots, measured_peak_mb
from sweeper.record.events import Event, Exit, Launched, Measured
from sweeper.record.fold import control_of
from sweeper.record.storage.layout import TrialDir
from sweeper.record.trial import Facts, Trial


def slots(*names: str) -> list[Slot]:
    return [Slot(name=name) for name in names]


def test_a_slot_that_was_not_to_be_had_comes_last_until_it_is() -> None:
    known = Slots.of(slots("a", "b", "c"))
    assert not known.answered("a", reserved=False)
    assert known.free({"c"}) == ["b", "a"]
    assert known.answered("a", reserved=True)
    assert known.free({"c"}) == ["a", "b"]


def test_other_slots_may_take_the_place_of_these() -> None:
    known = Slots.of(slots("gpu 0", "gpu 1"))
    known.quarantine("gpu 1 #1", "it is no slot yet")
    known.take_in(slots("gpu 0 #1", "gpu 1 #1"))
    assert known.free({"gpu 0"}) == ["gpu 0 #1", "gpu 1 #1"]
    assert known.quarantine("gpu 1 #1", "lost")
    known.take_in(slots("gpu 0 #1", "gpu 1 #1", "gpu 1 #2"))
    assert known.usable == ["gpu 0 #1", "gpu 1 #2"]


def trial(peak_mb: float, code: int | None) -> Trial:
    facts = Facts(number=0, configuration=0, seed=0, params={}, shown={}, command=[], metric="m", maximize=True)
    control: list[Event] = [Launched(attempt=1, slot="gpu 0"), Measured(attempt=1, device_peak_mb=peak_mb)]
    ended = Exit(attempt=1, code=code, signal=None, cause="", peak_memory_mb=1)
    return Trial(directory=TrialDir(Path("0000")), facts=facts, control=control_of(control), exits={1: ended})


def test_the_highest_peak_of_those_that_ended_well_counts() -> None:
    assert measured_peak_mb([]) == 0
    assert measured_peak_mb([trial(10, 0), trial(12, 0), trial(50, 1), trial(60, None)]) == 12


def test_a_place_is_given_up_after_three_ends_in_a_row_of_two_trials() -> None:
    ends = Ends()

    def told(number: int, cause: str, *, asked: bool = False) -> str:
        return ends.speak_against("node", number=number, cause=cause, asked=asked)

    assert not any(told(0, "killed") for _ in range(5))  # one trial: it may be the trial
    assert (
        told(1, "lost")
        == "3 attempts in a row ended there by no error of a script: 0000 killed, 0000 killed, 0001 lost"
    )
    for well in ({"cause": ""}, {"cause": "error"}, {"cause": "killed", "asked": True}):
        told(2, **well)
        assert not told(3, "killed")
        assert not told(4, "hung")
    assert told(5, "killed")
    ends.forget()
    assert not told(6, "killed")
