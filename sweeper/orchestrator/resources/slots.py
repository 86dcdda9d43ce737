"""Keep track of the slots: which are free, and which are quarantined because attempts keep failing there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from sweeper.executors.executor import Executor, Slot
from sweeper.record.causes import Cause
from sweeper.record.storage.claim import node_of
from sweeper.record.trial import TrialRecord
from sweeper.results.wording import counted, plain

FAILURES_IN_A_ROW = 3
OF_TRIALS = 2
"""A slot is quarantined after that many failures in a row, of at least that many different trials."""

_SUSPECT_CAUSES = frozenset({Cause.KILLED, Cause.LOST, Cause.HUNG, Cause.NOT_FOUND})
"""Causes of an end that may be the fault of the slot or node rather than of the script."""

_UNTIL = "until the next call of `sweeper run`"


@dataclass(slots=True)
class FailureStreaks:
    """Counts failed attempts by location, a slot or a node, since the last attempt there that ended normally."""

    _failures: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def add(self, location: str, *, number: int, cause: str, stop_requested: bool) -> str:
        """Take in how an attempt of trial `number` ended at a location.

        Args:
            stop_requested: whether this orchestrator asked the attempt to stop.

        Returns:
            Why the location should no longer be used; empty if it may be used.
        """
        if stop_requested or cause not in _SUSPECT_CAUSES:
            self._failures.pop(location, None)
            return ""
        failures = self._failures.setdefault(location, [])
        failures.append((number, cause))
        recent = failures[-FAILURES_IN_A_ROW:]
        if len(recent) < FAILURES_IN_A_ROW or len({trial for trial, _ in recent}) < OF_TRIALS:
            return ""
        listed = ", ".join(f"{trial:04d} {cause}" for trial, cause in recent)
        return f"{FAILURES_IN_A_ROW} attempts in a row failed there without an error of the script ({listed})"

    def clear(self) -> None:
        """Forget all failures."""
        self._failures.clear()


class SlotManager:
    """The slots of an executor and which of them may be used.

    `by_name` has all slots. A slot that is quarantined stays so for as long as this object lives.

    Args:
        say: prints a message to the user.
        count_waiting: returns how many trials wait for a slot.
    """

    def __init__(self, executor: Executor, say: Callable[[str], None], count_waiting: Callable[[], int]) -> None:
        self.by_name: dict[str, Slot] = {}
        self._executor, self._say, self._count_waiting = executor, say, count_waiting
        self._quarantined: set[str] = set()
        self._refused: set[str] = set()
        self._failures_by_slot, self._failures_by_node = FailureStreaks(), FailureStreaks()
        self._avoided_nodes: set[str] = set()
        self._read_slots()

    @property
    def usable(self) -> Sequence[str]:
        """The names of the slots that are not quarantined, free or not."""
        return [name for name in self.by_name if name not in self._quarantined]

    def free(self, taken: AbstractSet[str]) -> Sequence[str]:
        """Return the names of the usable slots that are not taken; slots with a failed reservation come last."""
        return sorted((name for name in self.usable if name not in taken), key=self._refused.__contains__)

    def refresh(self) -> None:
        """Ask the executor which slots there are, and quarantine those that have a fault."""
        self._read_slots()
        for slot, fault in self._executor.faults().items():
            self.quarantine(slot, fault)

    def note_answer(self, name: str, *, reserved: bool) -> None:
        """Take in whether a reservation of the slot succeeded."""
        (self._refused.discard if reserved else self._refused.add)(name)

    def attempt_ended(self, trial: TrialRecord, *, stop_requested: bool) -> None:
        """Take in how the trial's newest attempt ended; after repeated failures, avoid its node or its slot.

        Args:
            stop_requested: whether this orchestrator asked the attempt to stop.
        """
        number, cause, slot = trial.facts.number, trial.newest.cause, trial.newest.slot
        node = node_of(trial.attempt_dir)
        if node in self._avoided_nodes:  # the attempt was launched before the node was avoided
            return

        def take_in(streaks: FailureStreaks, location: str) -> str:
            return streaks.add(location, number=number, cause=cause, stop_requested=stop_requested)

        why = take_in(self._failures_by_node, node) if node else ""
        if why and self._executor.avoid(node):
            self._avoided_nodes.add(node)
            self._failures_by_slot.clear()  # these failures were the fault of the node
            self._say(f"No more attempts are launched on {plain(node)}, {_UNTIL}: {why}")
        elif why := take_in(self._failures_by_slot, slot):
            self.quarantine(slot, why)

    def quarantine(self, name: str, why: str) -> None:
        """Launch nothing more on a slot, and print why, once; do nothing if there is no such slot."""
        if name not in self.by_name or name in self._quarantined:
            return
        self._quarantined.add(name)
        self._say(f"No more attempts are launched on slot {name}, {_UNTIL}: {why}")
        if not self.usable:
            waiting = self._count_waiting()
            left = f"; {counted(waiting, 'trial still waits', 'trials still wait')}" if waiting else ""
            self._say(f"No usable slot is left. The sweep ends when the running trials have ended{left}")

    def _read_slots(self) -> None:
        self.by_name = {slot.name: slot for slot in self._executor.slots()}
