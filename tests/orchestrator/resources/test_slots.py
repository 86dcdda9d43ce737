"""Which slots are used first, and which are quarantined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from sweeper.executors.executor import Executor, Slot
from sweeper.orchestrator.resources.slots import FailureStreaks, SlotManager


class FakeExecutor:
    def __init__(self, *names: str) -> None:
        self.names = names

    def slots(self) -> Sequence[Slot]:
        return [Slot(name=name) for name in self.names]

    def faults(self) -> Mapping[str, str]:
        return {}


def manager(*names: str) -> tuple[SlotManager, FakeExecutor, list[str]]:
    executor, lines = FakeExecutor(*names), list[str]()
    return SlotManager(cast("Executor", executor), lines.append, lambda: 2), executor, lines


def test_a_slot_with_a_failed_reservation_comes_last_until_one_succeeds() -> None:
    slots, _, _ = manager("a", "b", "c")
    slots.note_answer("a", reserved=False)
    assert slots.free({"c"}) == ["b", "a"]
    slots.note_answer("a", reserved=True)
    assert slots.free({"c"}) == ["a", "b"]


def test_the_executor_may_replace_its_slots() -> None:
    slots, executor, lines = manager("gpu 0", "gpu 1")
    slots.quarantine("gpu 1 #1", "it is no slot yet")
    executor.names = ("gpu 0 #1", "gpu 1 #1")
    slots.refresh()
    assert slots.free({"gpu 0"}) == ["gpu 0 #1", "gpu 1 #1"]
    slots.quarantine("gpu 1 #1", "lost")
    slots.quarantine("gpu 1 #1", "lost")
    executor.names = ("gpu 0 #1", "gpu 1 #1", "gpu 1 #2")
    slots.refresh()
    assert slots.usable == ["gpu 0 #1", "gpu 1 #2"]
    assert lines == ["No more attempts are launched on slot gpu 1 #1, until the next call of `sweeper run`: lost"]


def test_a_location_is_avoided_after_three_failures_in_a_row_of_two_trials() -> None:
    streaks = FailureStreaks()

    def add(number: int, cause: str, *, stop_requested: bool = False) -> str:
        return streaks.add("node", number=number, cause=cause, stop_requested=stop_requested)

    assert not any(add(0, "killed") for _ in range(5))  # all of one trial, which may be at fault itself
    failures = "0000 killed, 0000 killed, 0001 lost"
    assert add(1, "lost") == f"3 attempts in a row failed there without an error of the script ({failures})"
    for well in ({"cause": ""}, {"cause": "error"}, {"cause": "killed", "stop_requested": True}):
        add(2, **well)
        assert not add(3, "killed")
        assert not add(4, "hung")
    assert add(5, "killed")
    streaks.clear()
    assert not add(6, "killed")
