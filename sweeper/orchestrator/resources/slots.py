"""Where attempts may run: the slots, and the machines behind them; of what is given up it is said why."""

from __future__ import annotations

from collections.abc import Callable

from sweeper.executors.executor import Executor
from sweeper.orchestrator.resources.quarantine import Ends, Slots
from sweeper.record.storage.claim import node_of
from sweeper.record.trial import Trial
from sweeper.results.wording import counted, plain

UNTIL = "until `sweeper run` is called again"


class Places:
    """The places of one executor; `waiting` counts the trials that would be left without one."""

    def __init__(self, executor: Executor, say: Callable[[str], None], waiting: Callable[[], int]) -> None:
        self.slots = Slots.of(executor.slots())
        self._executor, self._say, self._waiting = executor, say, waiting
        self._of_slots, self._of_nodes = Ends(), Ends()
        self._left: set[str] = set()

    def look(self) -> None:
        """Take in which slots there are, and which of them have a fault."""
        self.slots.take_in(self._executor.slots())
        for slot, fault in self._executor.faults().items():
            self.quarantine(slot, fault)

    def ended(self, trial: Trial, *, asked: bool) -> None:
        """Take in where and how the newest attempt of a trial ended: it may speak against its machine, or its slot.

        Args:
            asked: whether it was asked here to end.
        """
        number, attempt = trial.facts.number, trial.control.attempt
        cause, node, slot = trial.cause(attempt), node_of(trial.attempt), trial.control.launched[attempt].slot
        if node in self._left:  # it was there before
            return
        of_node = self._of_nodes.speak_against(node, number=number, cause=cause, asked=asked) if node else ""
        if of_node and self._executor.avoid(node):
            self._left.add(node)
            self._of_slots.forget()  # what spoke against slots was this
            self._say(f"nothing more is launched on {plain(node)}, {UNTIL}: {of_node}")
        elif why := self._of_slots.speak_against(slot, number=number, cause=cause, asked=asked):
            self.quarantine(slot, why)

    def quarantine(self, slot: str, why: str) -> None:
        """Use a slot no more, and say so, once."""
        if not self.slots.quarantine(slot, why):
            return
        self._say(f"nothing more is launched on the slot {slot}, {UNTIL}: {why}")
        if not self.slots.usable:
            waiting = self._waiting()
            left = f"; {counted(waiting, 'trial waits', 'trials wait')}" if waiting else ""
            self._say(f"no slot is left, and the sweep ends with what runs{left}")
