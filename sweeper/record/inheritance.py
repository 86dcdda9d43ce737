"""What a derived trial takes over from its ancestors: what they measured up to its checkpoint."""

from __future__ import annotations

from collections.abc import Iterable

from sweeper.errors import RecordError
from sweeper.record.derivation import START, Derivation
from sweeper.record.events import Event, Metrics, Observation, Resumed
from sweeper.record.facts import Facts
from sweeper.record.reader import history
from sweeper.record.storage.layout import TrialDir


def takes_over(event: Event, derived: Derivation | None) -> bool:
    """Return whether the event says that a derived trial restored the checkpoint of its parent."""
    return isinstance(event, Resumed) and derived is not None and START < derived.step == event.step


def inherited(facts: Facts, directory: TrialDir) -> list[Event]:
    """Return the metrics and observations of a trial's ancestors up to the checkpoint, oldest first.

    Plans are left out, because the trial has its own. An ancestor with a record that cannot be read adds nothing.

    Args:
        facts: the facts of the trial.
        directory: the directory of the trial.
    """
    derived = facts.derived
    if derived is None or derived.step == START or not 0 <= derived.parent < facts.number:
        return []
    parent = TrialDir(directory.path.parent / f"{derived.parent:04d}")
    try:
        known, events = Facts.read(parent), history(parent.attempts())
    except RecordError:
        return []
    whole = with_inherited(known, parent, events)
    return [one for one in whole if isinstance(one, Metrics | Observation) and one.step <= derived.step]


def with_inherited(facts: Facts, directory: TrialDir, events: Iterable[Event]) -> list[Event]:
    """Return the history of a trial with what it took over, which stands before it resumed from the checkpoint."""
    whole: list[Event] = []
    is_taken = False
    for event in events:
        if not is_taken and takes_over(event, facts.derived):
            whole += inherited(facts, directory)
            is_taken = True
        whole.append(event)
    return whole
